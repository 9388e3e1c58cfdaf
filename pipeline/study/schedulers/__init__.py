"""Schedulers: one module each, which says where trials are judged and who goes on.

A new scheduler is a new module in this package (and its test): `search.scheduler` is collected from
it.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Literal

from pipeline.study.schedulers.base import Ladder, Scheduler

__all__ = ["SCHEDULERS", "Ladder", "Scheduler", "SchedulerName"]


def _collected() -> dict[str, type[Scheduler]]:
    """Name → the class that has it, of every module of this package."""
    found: dict[str, type[Scheduler]] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if not own or not issubclass(value, Scheduler) or "name" not in vars(value):
                continue
            if found.setdefault(value.name, value) is not value:
                raise ValueError(f"two schedulers are called '{value.name}'")
    return found


SCHEDULERS = _collected()

if TYPE_CHECKING:
    SchedulerName = str
else:
    SchedulerName = Literal[tuple(SCHEDULERS)]
