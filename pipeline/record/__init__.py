"""What is written down: the ledger, what it means, and MLflow as its projection."""
