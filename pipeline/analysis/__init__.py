"""What a record says in numbers and verdicts: nothing here renders, schedules or trains."""
