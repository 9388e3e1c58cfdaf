"""Hyperparameter search and honest ablations for image classification."""
