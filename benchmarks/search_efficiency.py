"""How good is what a search hands on, after a given amount of training?

    python -m benchmarks.search_efficiency                  # on our own recorded curves
    python -m benchmarks.search_efficiency --simulator DIR  # on those of others

Searches are played on recorded learning curves: sampler and scheduler are the real ones, only the
training is simulated. Reported is the normalised regret, (y* - true value of what the search hands
on) / (y* - median random run): 0 = the best known, 1 = a random run. Budgets are in full training
runs. Means over seeds and sets, with 95 % intervals that draw the seeds of all sets together; each
method is compared with `ours` seed by seed.

DIR holds `hposim.py`: curves of others as functions (configuration, epoch) -> value, seconds, and a
clock. There the best value seen counts, without noise. Exit status: 1 where ours loses to random
search in a set, 2 for a wrong command line.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curves.clock import Piece, play
from benchmarks.curves.past import METHODS
from benchmarks.curves.searchers import Rungs
from benchmarks.curves.sets import CurveSet, names
from pipeline.errors import PipelineError, UserError
from pipeline.study.ranges import Choice, Float, Int, Knob
from pipeline.study.space import Space

INSTANCES = ("opda:alexnet", "tiny", "lcb:168330", "lcb:167190")
BUDGETS = (3.0, 5.0, 10.0, 25.0)
DEFAULT = ("random, promoted", "tpe, full runs", "ours, four rungs", "ours, portfolio of 4")
Table = np.ndarray[Any, np.dtype[np.float64]]  # [seeds, budgets]


class Foreign:
    """Another's set as ours are: its space, its number of epochs."""

    def __init__(self, bench: Any) -> None:
        self.num_epochs, self.space = bench.R, space_of(bench)


class Steps:
    """One of our searches behind the other simulator's two questions: what to train now, and what
    to do after an epoch.
    """

    def __init__(self, searcher: Rungs) -> None:
        self.searcher, self.stops = searcher, dict[int, int]()

    def ask(self, now: float) -> tuple[str, int, Any]:  # noqa: ARG002  the simulator's signature
        piece: Piece = self.searcher.ask()
        self.stops[piece.trial] = piece.stop
        return "start" if piece.knobs is not None else "resume", piece.trial, piece.knobs

    def report(self, trial: int, epoch: int, value: float, end: bool, diverged: bool) -> str:
        if diverged or epoch == self.stops[trial]:
            self.searcher.tell(trial, epoch, None if diverged else value)
            return "stop" if end else "pause"
        return "continue"


def space_of(bench: Any) -> Space:
    """The simulator's parameters, (name, 'float' | 'int', low, high, log) or (name, 'cat',
    options), as a Space.
    """
    knobs: dict[str, Knob] = {}
    for name, kind, *spec in bench.params:
        if kind == "cat":
            knobs[name] = Choice(options=tuple(spec[0]))
        elif kind == "int":
            knobs[name] = Int(low=spec[0], high=spec[1], log=spec[2])
        else:
            knobs[name] = Float(low=spec[0], high=spec[1], log=spec[2])
    return Space(knobs=knobs)


def on_ours(name: str, methods: tuple[str, ...], seeds: int, workers: int) -> dict[str, Table]:
    """Regrets of every method on a set of ours."""
    curves = CurveSet(name)
    return {
        method: np.array(
            [
                play(
                    curves,
                    METHODS[method](curves, seed),
                    workers=workers,
                    budgets=BUDGETS,
                    seed=seed,
                )
                for seed in range(seeds)
            ]
        )
        for method in methods
    }


def on_theirs(
    simulator: Any, name: str, methods: tuple[str, ...], seeds: int, workers: int
) -> dict[str, Table]:
    """The same on a set of another's simulator. Raises UserError where it cannot be loaded."""
    try:
        bench = simulator.load(name)
    except (ImportError, KeyError, OSError) as error:
        raise UserError(f"--sets: cannot load {name}: {type(error).__name__}: {error}") from error
    found = {}
    for method in methods:
        rows = []
        for seed in range(seeds):
            searcher = Steps(METHODS[method](Foreign(bench), seed))  # type: ignore[arg-type]
            log, _ = simulator.simulate(bench, searcher, workers=workers, budget=BUDGETS[-1])
            rows.append([float(bench.nr(value)) for value in simulator.at(log, BUDGETS)])
        found[method] = np.array(rows)
    return found


def interval(tables: list[Table], num_resamples: int = 2000) -> tuple[Table, Table, Table]:
    """(mean over sets and seeds, its 95 % interval) at each budget; a resample draws the same seeds
    in every set.
    """
    stacked = np.stack(tables)  # [sets, seeds, budgets]
    generator = np.random.default_rng(0)
    seeds = stacked.shape[1]
    drawn = generator.integers(seeds, size=(num_resamples, seeds))
    means = stacked.mean(axis=0)[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return stacked.mean(axis=(0, 1)), low, high


def load_simulator(folder: Path) -> Any:
    """The module `hposim` of `folder`; raises UserError where it is not there or lacks what it
    imports.
    """
    if not (folder / "hposim.py").is_file():
        raise UserError(f"--simulator: no hposim.py in {folder}")
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("hposim")
    except ImportError as error:
        raise UserError(
            f"--simulator: {folder / 'hposim.py'} cannot be imported: {error}"
        ) from error


def report(found: dict[str, dict[str, Table]], methods: tuple[str, ...]) -> bool:
    """Print the tables; whether ours is no worse than random search in any set."""
    head = "".join(f"{f'{budget:g}x':>22}" for budget in BUDGETS)
    print(f"\nmean over {len(found)} sets{'':8}{head}")
    for method in methods:
        cells = zip(*interval([tables[method] for tables in found.values()]), strict=True)
        print(
            f"{method:24}"
            + "".join(f"{f'{mean:.3f} [{low:.3f}, {high:.3f}]':>22}" for mean, low, high in cells)
        )
    print(f"\nours less the method{'':4}{head}")
    for method in methods[1:]:
        less = [tables[methods[0]] - tables[method] for tables in found.values()]
        cells = zip(*interval(less), strict=True)
        print(
            f"{method:24}"
            + "".join(
                f"{f'{mean:+.3f} [{low:+.3f}, {high:+.3f}]':>22}" for mean, low, high in cells
            )
        )
    return all(
        tables[methods[0]][:, -1].mean() <= tables["random"][:, -1].mean()
        for tables in found.values()
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulator", type=Path, metavar="DIR", help="the folder of hposim.py")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each method on each set")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sets", nargs="+", help="names of sets (default: all)")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=DEFAULT,
        help=f"beside ours and random, of: {'; '.join(METHODS)}",
    )
    options = parser.parse_args(argv)
    methods = tuple(dict.fromkeys(("ours", "random", *options.methods)))
    try:
        if options.seeds < 2 or options.workers < 1:
            raise UserError(
                f"--seeds: at least 2, --workers: at least 1 (got {options.seeds}, "
                f"{options.workers})"
            )
        if wrong := sorted({*methods} - {*METHODS}):
            raise UserError(
                f"--methods: {'; '.join(wrong)}: unknown; allowed: {'; '.join(METHODS)}"
            )
        simulator = load_simulator(options.simulator) if options.simulator else None
        chosen = options.sets or (INSTANCES if simulator else names())
        unknown = [] if simulator else sorted({*chosen} - {*names()})
        if unknown:
            raise UserError(f"--sets: {', '.join(unknown)}: not recorded; there are {names()}")
        found = {}
        for name in chosen:
            began = time.process_time()
            asked = (name, methods, options.seeds, options.workers)
            found[name] = on_theirs(simulator, *asked) if simulator else on_ours(*asked)
            ends = "  ".join(f"{m} {t[:, -1].mean():.3f}" for m, t in found[name].items())
            print(
                f"{name:16} at {BUDGETS[-1]:g}x: {ends}   {time.process_time() - began:.0f} CPU s",
                flush=True,
            )
        met = report(found, methods)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ImportError as error:  # of a package that a method alone needs
        print(f"error: --methods: {error}", file=sys.stderr)
        return 2
    print(f"\nno set lost to random search at {BUDGETS[-1]:g}x: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
