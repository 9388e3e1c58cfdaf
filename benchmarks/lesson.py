"""`python -m benchmarks.lesson`: the figures of docs/statistics.md, by the code that judges the
tables; `phrases` are what the page says of
them, which a test holds.

Runs are drawn from normal distributions of known means, so that what is true is known: accuracies
in points, the standard deviation of a run 1.5.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as distributions

from pipeline.analysis.stats import (
    ALPHA,
    PAIRED,
    Contrast,
    Family,
    basis,
    deltas,
    fit,
    noncentrality,
    planned_df,
    step_down,
)
from pipeline.analysis.stats.student import Floats
from pipeline.report.figures.style import BAD, BAND, GOOD, INK, MUTED, STYLE, TRAIN, VAL
from pipeline.study.questions import differences

FOLDER = Path(__file__).parents[1] / "docs" / "images"
SD, MEAN, MARGIN = 1.5, 80.0, 1.0  # points
PAIR = np.array([-1.0, 1.0])
WELCH = basis("official")
SIZES = (3, 5, 10, 20)
Axes = Any
Drawn = tuple[Callable[[Axes], None], dict[str, str]]


def runs(shape: tuple[int, ...], *, seed: int, gain: float = 0.0, shared: float = 0.0) -> Floats:
    """Accuracies [..., replicates, 2] of two arms, the second better by `gain`; `shared` is their
    correlation within a replicate.
    """
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(*shape, 2)) * np.sqrt(1 - shared)
    together = rng.normal(size=(*shape, 1)) * np.sqrt(shared)
    return MEAN + SD * (own + together) + np.array([0.0, gain])


def one_run() -> Drawn:
    """Differences of single runs of two arms that are equal."""
    found = np.sort(np.diff(runs((100,), seed=1), axis=-1)[:, 0])
    far = int((np.abs(found) > 2).sum())

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, lw=0.8)
        axes.hist(found, bins=np.arange(-7, 7.5, 0.5), color=VAL)
        axes.set(xlabel="B − A, points, one run each (truth: 0)", ylabel="of 100 people", ylim=0)

    return draw, {"far": f"{far} of 100 see a difference of more than 2 points"}


def intervals() -> Drawn:
    """95 % intervals of forty studies, and how many of many hold the truth."""
    gain = 1.0
    found = fit(runs((40, 5), seed=2, gain=gain), PAIR, WELCH)
    many = fit(runs((100_000, 5), seed=3, gain=gain), PAIR, WELCH)
    holds = float((np.abs(many.delta - gain) < many.half()).mean())
    missed = np.abs(found.delta - gain) > found.half()

    def draw(axes: Axes) -> None:
        order = np.argsort(found.delta)
        for row, at in enumerate(order):
            colour = BAD if missed[at] else VAL
            ends = found.delta[at] + np.array([-1, 1]) * found.half()[at]
            axes.plot(ends, (row, row), color=colour, lw=1.4)
            axes.plot(found.delta[at], row, "o", color=colour, ms=2.5)
        axes.axvline(gain, color=INK, lw=1.0)
        axes.axvline(0, color=MUTED, lw=0.8, ls="--")
        axes.set(xlabel="B − A, points, 5 replicates (truth: 1)", ylabel="40 studies", yticks=[])

    return draw, {
        "missed": f"{int(missed.sum())} of these 40 miss the truth",
        "holds": f"of 100,000 studies {100 * holds:.1f} % hold it",
    }


def spread() -> Drawn:
    """The width of an interval by the number of replicates."""
    numbers = range(2, 21)
    half = np.array(
        [
            distributions.t.ppf(0.975, planned_df(WELCH.test, n, (-1.0, 1.0))) * np.sqrt(2 / n)
            for n in numbers
        ]
    )

    def draw(axes: Axes) -> None:
        axes.plot(numbers, half * SD, "o-", color=VAL, ms=3)
        axes.set(
            xlabel="replicates of each arm",
            ylabel="interval of B − A, ± points",
            xticks=(2, *SIZES),
            ylim=0,
        )

    by = {n: half[n - 2] * SD for n in SIZES}
    return draw, {"half": ", ".join(f"±{by[n]:.1f} at {n}" for n in SIZES)}


def pairing() -> Drawn:
    """How often a difference is found, paired and not, by how alike the arms of a replicate are."""
    shares = np.linspace(0, 0.9, 10)
    power = {
        way: [
            float((fit(runs((4_000, 5), seed=4, gain=2.0, shared=s), PAIR, test).p < ALPHA).mean())
            for s in shares
        ]
        for way, test in (("paired", PAIRED), ("unpaired (Welch)", WELCH))
    }

    def draw(axes: Axes) -> None:
        for (name, values), colour in zip(power.items(), (TRAIN, VAL), strict=True):
            axes.plot(shares, [100 * value for value in values], "o-", color=colour, ms=3)
            axes.annotate(name, (shares[5], 100 * values[5]), (4, -11), textcoords="offset points",
                          color=colour)  # fmt: skip
        axes.set(
            xlabel="correlation of the two arms within a replicate",
            ylabel="found, % of studies",
            ylim=(0, 105),
        )

    paired, apart = power.values()
    found = [f"{100 * one:.0f} %" for one in (apart[0], paired[0], apart[8], paired[8])]
    return draw, {
        "apart": f"{found[0]} of studies find it unpaired, {found[1]} paired",
        "alike": f"{found[2]} and {found[3]}",
    }


def several() -> Drawn:
    """How often something is found where nothing is there, by the number of arms asked about."""
    counts, plain, held, num = (1, 2, 4, 8), [], [], 4_000
    rng = np.random.default_rng(5)
    for count in counts:
        names = [f"arm {k}" for k in range(count + 1)]
        table = rng.normal(MEAN, SD, (num, 5, count + 1))
        p = np.stack([fit(table, row, WELCH).p for row in _against_first(count)], axis=-1)
        family = Family.of(differences(names, names[0]), ())
        adjusted, _ = step_down(p, np.full(num, np.nan), family)
        plain.append(100 * float((p < ALPHA).any(axis=-1).mean()))
        held.append(100 * float((adjusted < ALPHA).any(axis=-1).mean()))

    def draw(axes: Axes) -> None:
        axes.axhline(5, color=MUTED, lw=0.8, ls="--")
        for values, name, colour in ((plain, "each at 5 %", BAD), (held, "one family", GOOD)):
            axes.plot(counts, values, "o-", color=colour, ms=3)
            axes.annotate(name, (counts[-1], values[-1]), (-6, 7), textcoords="offset points",
                          color=colour, ha="right")  # fmt: skip
        axes.set(
            xlabel="arms compared with the reference (truth: all equal)",
            ylabel="reports with a false find, %",
            xticks=counts,
            ylim=0,
        )

    return draw, {
        "plain": f"{plain[-1]:.0f} % of reports",
        "held": f"{held[-1]:.0f} % of them",
    }


def _against_first(count: int) -> Floats:
    """Weights [count, count + 1] of every other arm minus the first."""
    return np.concatenate([-np.ones((count, 1)), np.eye(count)], axis=1)


def equivalence() -> Drawn:
    """Four tables and their verdicts."""
    rng = np.random.default_rng(6)
    kinds = ((2.5, 1.0, 5), (0.1, 0.6, 10), (0.4, 2.0, 5), (-3.0, 1.0, 5))
    rows: list[Contrast] = []
    for gain, sd, n in kinds:
        noise = rng.normal(size=(n, 2))
        noise = (noise - noise.mean(axis=0)) / noise.std(axis=0, ddof=1)
        table = pd.DataFrame((MEAN + sd * noise + (0, gain)) / 100, columns=["A", "B"])
        rows += deltas(table, "A", MARGIN / 100, WELCH)

    def draw(axes: Axes) -> None:
        axes.axvspan(-MARGIN, MARGIN, color=BAND)
        axes.axvline(0, color=MUTED, lw=0.8)
        for row, one in enumerate(rows):
            colour = {"better": GOOD, "worse": BAD, "equivalent": VAL}.get(one.verdict, MUTED)
            axes.plot((100 * one.low, 100 * one.high), (-row, -row), color=colour, lw=2)
            axes.plot(100 * one.delta, -row, "o", color=colour, ms=4)
        axes.set(
            xlabel="B − A, points; the band is the margin of ±1",
            yticks=[-row for row in range(len(rows))],
            yticklabels=[one.verdict for one in rows],
        )

    return draw, {"verdicts": ", ".join(f"*{one.verdict}*" for one in rows)}


def power() -> Drawn:
    """The smallest true difference that is found in 80 % of studies, by replicates."""
    numbers = range(3, 31)

    def least(n: int, tests: int) -> float:
        df = planned_df(WELCH.test, n, (-1.0, 1.0))
        return noncentrality(df, ALPHA / tests) * float(np.sqrt(2 / n)) * SD

    lines = {tests: [least(n, tests) for n in numbers] for tests in (1, 6)}

    def draw(axes: Axes) -> None:
        for (tests, values), colour in zip(lines.items(), (VAL, TRAIN), strict=True):
            axes.plot(numbers, values, color=colour)
            name = "one question" if tests == 1 else f"one of {tests} questions"
            axes.annotate(name, (numbers[6], values[6]), (6, 5) if tests > 1 else (-40, -16),
                          textcoords="offset points", color=colour)  # fmt: skip
        axes.set(
            xlabel="replicates of each arm",
            ylabel="smallest difference found, points",
            xticks=(3, 5, 10, 20, 30),
            ylim=0,
        )

    return draw, {"least": ", ".join(f"{least(n, 1):.1f} points with {n}" for n in SIZES)}


def winner() -> Drawn:
    """The best of many equal configurations: what it shows, and what it does again."""
    counts = (1, 2, 5, 10, 20, 40, 80)
    rng = np.random.default_rng(7)
    shown = [float(rng.normal(MEAN, SD, (20_000, count)).max(axis=1).mean()) for count in counts]

    def draw(axes: Axes) -> None:
        axes.plot(counts, shown, "o-", color=BAD, ms=3)
        axes.axhline(MEAN, color=GOOD)
        axes.annotate("the best one's number", (counts[4], shown[4]), (-6, 6), ha="right",
                      textcoords="offset points", color=BAD)  # fmt: skip
        axes.annotate("the same configuration, trained again", (1.2, MEAN), (0, -14),
                      textcoords="offset points", color=GOOD)  # fmt: skip
        axes.set(
            xlabel="configurations tried (truth: all equal)",
            ylabel="accuracy, %",
            xscale="log",
            xticks=counts,
            xticklabels=counts,
            ylim=(MEAN - 1, MEAN + 4.5),
        )
        axes.minorticks_off()

    return draw, {"curse": f"{shown[5] - MEAN:.1f} points too high"}


FIGURES: dict[str, Callable[[], Drawn]] = {
    "one-run": one_run,
    "spread": spread,
    "intervals": intervals,
    "pairing": pairing,
    "several": several,
    "equivalence": equivalence,
    "power": power,
    "winner": winner,
}


def phrases() -> list[str]:
    """What docs/statistics.md says of the figures, word by word."""
    return [words for make in FIGURES.values() for words in make()[1].values()]


def main() -> int:
    """Write the figures and print the phrases."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    for name, make in FIGURES.items():
        draw, said = make()
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(5.2, 2.9), layout="constrained", facecolor="white")
            draw(figure.add_subplot())
            figure.savefig(FOLDER / f"statistics-{name}.svg", metadata={"Date": None})
        print(f"{name}: {'; '.join(said.values())}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
