"""The shared training core: everything a trial or an arm runs through. Knows nothing of Ray, Optuna
or MLflow.
"""

CORE_VERSION = 2
"""Part of a run's identity: raised whenever the same configuration and seed give other results."""
