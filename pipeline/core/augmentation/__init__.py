"""What happens to a sample before the network sees it."""
