"""What is asked: studies, their spaces, arms and questions."""
