"""A report in another language."""
