"""The shared training core: everything a trial or an arm runs through. Knows nothing of Ray, Optuna or MLflow."""
