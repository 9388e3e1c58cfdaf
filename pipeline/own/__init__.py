"""Code of the user's own: found by its name, read for its knobs, blamed for its faults."""
