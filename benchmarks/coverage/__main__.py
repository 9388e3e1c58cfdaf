"""How often what the ablation's report says is right, by simulation of the code that says it.

    python -m benchmarks.coverage [--tables N] [--seed N] [--only SUBJECT]

Behind ± is the Monte-Carlo standard error. Rows in brackets are shown alone: worse than the goal
asks, or a test where the plan would choose another. Exit status: 0 if every other row is within
three standard errors of its goal, 1 if not.
"""

import argparse
import sys
import zlib
from collections.abc import Sequence

import numpy as np

from benchmarks.coverage import (
    answered,
    components,
    intervals,
    judging,
    learners,
    pictures,
    pilots,
    verdicts,
)
from benchmarks.coverage.rows import table

SUBJECTS = (intervals, verdicts, answered, components, learners, judging, pictures, pilots)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage", description="Is what the report says right?"
    )
    names = [subject.__name__.rpartition(".")[2] for subject in SUBJECTS]
    parser.add_argument(
        "--tables", type=int, default=20_000, help="simulated tables a row (default: 20000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=names, help="one subject alone")
    given = parser.parse_args(argv)
    met = True
    for name, subject in zip(names, SUBJECTS, strict=True):
        if given.only in (None, name):
            rows = list(
                subject.simulate(
                    given.tables, np.random.default_rng([given.seed, zlib.crc32(name.encode())])
                )
            )
            print(f"{subject.TITLE}\n{subject.NOTE}\n{table(rows)}\n", flush=True)
            met &= all(row.good for row in rows if row.counts)
    print(f"goal {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
