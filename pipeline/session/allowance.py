"""`--max-gpu-hours`, `--max-core-hours`: what all commands of a study may take together, as a limit
of this one's time.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

from pipeline.analysis.expense import HOUR, digits, expense
from pipeline.counts import duration, plural
from pipeline.errors import UserError
from pipeline.machine import Resources
from pipeline.record.record import Record
from pipeline.session.options import Options
from pipeline.session.values import hours

SPENT = 1e-3  # seconds that are left where nothing is: the plan begins no run, and says so


def add_allowance(flags: argparse.ArgumentParser) -> None:
    """The two flags, of which one holds: that of what runs train on."""
    for what, meant in (("gpu", "GPUs"), ("core", "CPU cores, where runs train on these")):
        flags.add_argument(
            f"--max-{what}-hours",
            type=hours,
            metavar="H",
            help=f"hours of {meant}, that the study may take in all, earlier commands included: "
            "for what is left of them this command plans as under --time",
        )


def is_spent(options: Options) -> bool:
    """Whether nothing is left of the study's hours (see `allowed`)."""
    return options.time is not None and options.time <= SPENT


def allowed(
    options: Options,
    record: Record,
    means: Resources,
    tell: Callable[[str], None],
    since: float = 0.0,
) -> Options:
    """The options with the time that the study's hours leave on these workers, all of them busy to
    the end of it, which is told; as they are where no hours are asked for. Not counted are the
    seconds `since` the command began, those of measuring and of the report. Raises UserError where
    they are hours of what runs do not train on.
    """
    from pipeline.session.forecast import ENDING_SECONDS, budget_of  # numpy takes a while to import

    on_gpus = means.gpus_per_trial > 0
    most, other = options.max_core_hours, options.max_gpu_hours
    what, instead, devices = "core", "gpu", float(means.workers)
    if on_gpus:
        most, other, what, instead = other, most, instead, what
        devices *= means.gpus_per_trial
    if other is not None:
        here = "GPUs" if on_gpus else "CPU cores"
        raise UserError(
            f"--max-{instead}-hours: got {other:g}, and runs train on {here}; "
            f"allowed: --max-{what}-hours"
        )
    if most is None:
        return options
    of_all = expense(record, record.runs.values())
    spent = of_all.gpu_hours if on_gpus else of_all.core_hours
    left = max(SPENT, (most - spent) * HOUR / devices)
    name = "GPU hours" if on_gpus else "core hours"
    said = f"{name}: {digits(spent)} of {most:g} are spent; "
    if left == SPENT:
        said += f"nothing more is trained, but by --max-{what}-hours of more"
    else:
        said += f"what is left lasts {duration(left)} here ({plural(means.workers, 'run')} at once)"
        left += since + budget_of(left) + ENDING_SECONDS
    tell(said)
    return replace(options, time=min(left, options.time or left))
