"""A finished run: how its model is judged, changed, kept, and what it leaves for the report."""
