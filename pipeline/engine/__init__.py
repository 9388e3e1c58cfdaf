"""What to train next, and who trains it."""
