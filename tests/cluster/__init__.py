"""A real cluster of several nodes, and commands on it."""
