"""`--max-gpu-hours`, `--max-core-hours`: what all commands of a study may take together, as a limit
of this one's time.
"""

import argparse
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
            "plan as under --time for what is left of them",
        )


def is_limited(options: Options) -> bool:
    """Whether a command's time is limited, by whatever flag."""
    given = (options.time, options.max_gpu_hours, options.max_core_hours)
    return any(limit is not None for limit in given)


def allowed(options: Options, record: Record, means: Resources) -> tuple[Options, str]:
    """The options with the time that the study's hours leave on these workers, all of them busy to
    the end of it; and that in words, '' where no hours are asked for. Raises UserError where they
    are those of what runs do not train on.
    """
    on_gpus = means.gpus_per_trial > 0
    most, other = options.max_core_hours, options.max_gpu_hours
    what, instead, devices = "core", "gpu", float(means.workers)
    if on_gpus:
        most, other, what, instead = other, most, instead, what
        devices *= means.gpus_per_trial
    if other is not None:
        here = "GPUs" if on_gpus else "CPU cores"
        raise UserError(
            f"--max-{instead}-hours: got {digits(other)}, and runs train on {here}; "
            f"allowed: --max-{what}-hours"
        )
    if most is None:
        return options, ""
    of_all = expense(record, record.runs.values())
    spent = of_all.gpu_hours if on_gpus else of_all.core_hours
    left = max(SPENT, (most - spent) * HOUR / devices)
    name = "GPU hours" if on_gpus else "core hours"
    said = f"{name}: {digits(spent)} of {digits(most)} are spent; "
    if left == SPENT:
        said += f"nothing more is trained, but by --max-{what}-hours of more"
    else:
        said += f"what is left lasts {duration(left)} here ({plural(means.workers, 'run')} at once)"
    return replace(options, time=min(left, options.time or left)), said
