"""One command from the lock to the last line on the screen."""
