"""How good is the best configuration after a given amount of training: our search against random
search, simulated.

    python -m benchmarks.search_efficiency --simulator DIR

DIR holds `hposim.py`: recorded learning curves as functions (configuration, epoch) -> value,
seconds, and a clock that plays asynchronous workers. The sampler and the scheduler are the real
ones; only the training is simulated. Reported is the normalised regret, (y* - best seen) / (y* -
median random run): 0 = the best known, 1 = a random run. Budgets are in full training runs. Exit
status: 0 if the goal is met, 1 if not, 2 for a wrong command line.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine.sampler import RungSampler
from pipeline.engine.scheduler import Promotion, rung_epochs
from pipeline.errors import PipelineError, UserError
from pipeline.frozen import Scalar
from pipeline.study.space import Choice, Float, Int, Knob, Space

INSTANCES = ("opda:alexnet", "tiny", "lcb:168330", "lcb:167190")
REDUCTION, NUM_RUNGS = 3, 3
NUM_WORKERS = 4
GOAL = 0.20
Step = tuple[str, int, Mapping[str, Scalar] | None]


class Search:
    """Our search behind the simulator's two questions: what to train now, and what to do after an
    epoch.
    """

    def __init__(self, bench: Any, seed: int) -> None:
        self.rungs = rung_epochs(bench.R, REDUCTION, NUM_RUNGS)
        self.sampler = RungSampler(space_of(bench), kind="tpe", seed=seed, num_rungs=NUM_RUNGS)
        self.scheduler = Promotion(reduction=REDUCTION, num_rungs=NUM_RUNGS)
        self.num_trials = 0

    def ask(self, now: float) -> Step:  # noqa: ARG002  the simulator's signature
        chosen = self.scheduler.next()
        if chosen is not None:
            return "resume", chosen[0], None
        self.num_trials += 1
        return "start", self.num_trials, self.sampler.ask(self.num_trials)[0]

    def report(self, trial: int, epoch: int, value: float, end: bool, diverged: bool) -> str:
        if diverged:
            rung = next(i for i, epochs in enumerate(self.rungs) if epochs >= epoch)
            self.sampler.diverge(trial, rung)
            self.scheduler.diverge(trial, rung)
        elif epoch in self.rungs:
            rung = self.rungs.index(epoch)
            self.sampler.tell(trial, rung, value)
            self.scheduler.record(trial, rung, value)
            return "stop" if end else "pause"
        return "stop" if end else "continue"


class RandomSearch:
    """Random points, each trained to its end."""

    def __init__(self, bench: Any, seed: int) -> None:
        self.sampler = RungSampler(space_of(bench), kind="random", seed=seed, num_rungs=1)
        self.num_trials = 0

    def ask(self, now: float) -> Step:  # noqa: ARG002  the simulator's signature
        self.num_trials += 1
        return "start", self.num_trials, self.sampler.ask(self.num_trials)[0]

    def report(self, trial: int, epoch: int, value: float, end: bool, diverged: bool) -> str:  # noqa: ARG002
        return "continue"


METHODS = {"ours": Search, "random": RandomSearch}


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


def regrets(
    simulator: Any, bench: Any, method: str, seed: int, budgets: tuple[float, ...]
) -> list[float]:
    """The normalised regret of one run at each of `budgets`, the last of which ends it."""
    algorithm = METHODS[method](bench, seed)
    log, _ = simulator.simulate(bench, algorithm, workers=NUM_WORKERS, budget=budgets[-1])
    return [float(bench.nr(value)) for value in simulator.at(log, budgets)]


def win_rate(ours: np.ndarray, random: np.ndarray) -> float:
    """The share of all pairs of seeds in which `ours` has the smaller regret; equal ones count
    half.
    """
    difference = random[None, :] - ours[:, None]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def mean_of_medians(
    runs: list[np.ndarray], num_resamples: int = 2000
) -> tuple[float, float, float]:
    """The mean over instances of the median over seeds, with a 95 % bootstrap interval over the
    seeds of each instance.
    """
    generator = np.random.default_rng(0)
    medians = [np.median(generator.choice(run, (num_resamples, len(run))), axis=1) for run in runs]
    low, high = np.quantile(np.mean(medians, axis=0), (0.025, 0.975))
    return float(np.mean([np.median(run) for run in runs])), float(low), float(high)


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


def measure(
    simulator: Any, instances: tuple[str, ...], seeds: int, budgets: tuple[float, ...]
) -> bool:
    """Run both methods, print the table; whether the goal is met."""
    runs: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    wins = []
    for instance in instances:
        try:
            bench = simulator.load(instance)
        except (ImportError, KeyError, OSError) as error:
            raise UserError(
                f"--instances: cannot load {instance}: {type(error).__name__}: {error}"
            ) from error
        for method, done in runs.items():
            start = time.process_time()
            done.append(
                np.array(
                    [regrets(simulator, bench, method, seed, budgets) for seed in range(seeds)]
                )
            )
            seconds = (time.process_time() - start) / seeds
            medians = "  ".join(
                f"{m:.3f} at {b:g}x" for m, b in zip(np.median(done[-1], 0), budgets, strict=True)
            )
            print(
                f"{instance:14} {method:7} median regret {medians}   {seconds:.1f} CPU s a run",
                flush=True,
            )
        wins.append(win_rate(runs["ours"][-1][:, -1], runs["random"][-1][:, -1]))
        print(f"{instance:14} wins against random at {budgets[-1]:g}x: {wins[-1]:.2f}", flush=True)
    for method, done in runs.items():
        for column, budget in enumerate(budgets):
            mean, low, high = mean_of_medians([run[:, column] for run in done])
            print(f"mean of medians, {method:7} at {budget:g}x: {mean:.3f} [{low:.3f}, {high:.3f}]")
    goal, _, _ = mean_of_medians([run[:, -1] for run in runs["ours"]])
    return goal <= GOAL and min(wins) >= 0.5


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--simulator", type=Path, required=True, metavar="DIR", help="the folder of hposim.py"
    )
    parser.add_argument(
        "--seeds", type=int, default=20, help="runs of each method on each instance"
    )
    parser.add_argument("--budget", type=float, default=25.0, help="in full training runs")
    parser.add_argument(
        "--instances", nargs="+", default=INSTANCES, help="names that the simulator knows"
    )
    options = parser.parse_args(argv)
    try:
        if options.seeds < 1 or options.budget < 1:
            raise UserError(
                f"--seeds and --budget: at least 1 (got {options.seeds}, {options.budget:g})"
            )
        simulator = load_simulator(options.simulator)
        budgets = tuple(sorted({min(10.0, options.budget), options.budget}))
        met = measure(simulator, tuple(options.instances), options.seeds, budgets)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"goal (mean <= {GOAL} at {options.budget:g}x, no instance lost to random): "
        f"{'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
