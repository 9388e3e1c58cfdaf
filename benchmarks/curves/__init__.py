"""Real learning curves of our own search, recorded once and kept here: see `record`."""
