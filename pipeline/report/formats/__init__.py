"""A report's document in each format."""
