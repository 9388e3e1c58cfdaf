"""Pictures: datasets, the decode-once cache, splits, and checks of what came in."""
