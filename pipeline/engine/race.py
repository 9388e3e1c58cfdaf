"""The race: the best trials of the study's search are trained again, and the one that stays is an
arm of the ablation. Pure, but for what is recorded.

A search's best trial is one run, chosen by the very number that it shows. So the best few are
trained anew, on the same pictures and with chance of their own, the same for all of them: those
that fall behind are dropped, as in O. Maron, A. Moore, "Hoeffding races", NIPS 1993. What the one
that stays is worth is not read from these runs, which chose it: its replicates as an arm say that.

With several objectives points of the front race (`engine.front`). Behind is then who is behind one
that costs no more: several stay, and the best mean of them is the arm.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from pipeline.core.config import TrainConfig
from pipeline.core.identity import FIRST_RACE, Keys
from pipeline.engine.front import chosen, front, no_dearer
from pipeline.record import events
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record, Run
from pipeline.study.around import Around
from pipeline.study.objectives import found_name
from pipeline.study.study import Study
from pipeline.study.tuning import RACE

ROUNDS = 3
LEVEL = 0.975  # one side of a 95 % interval
ENDED = ("complete", "diverged", "failed")


@dataclass(frozen=True)
class Racer:
    """A trial that is trained again; `laps` are these runs, round by round."""

    trial: Run
    laps: tuple[Run, ...]

    def values(self, rounds: int = ROUNDS) -> tuple[float, ...]:
        """Their worth at the top rung of the first rounds, as the search reads its trials; up to
        the first that is lost or not over.
        """
        found = []
        for number, run in enumerate(self.laps[:rounds], 1):
            if run.replicate != FIRST_RACE + number or run.status != "complete" or not run.value:
                break
            found.append(run.value[1])
        return tuple(found)

    def worth(self, rounds: int = ROUNDS) -> float:
        """What they are ordered by: their mean, the higher the better."""
        return self.trial.sign * fmean(self.values(rounds))

    def ended(self, number: int) -> bool:
        """Whether the run of this round is over, however."""
        return self._lap(number) in ENDED

    def lost(self, number: int) -> bool:
        """Whether the run of this round has no result, and will have none."""
        return self._lap(number) in ENDED[1:]

    def _lap(self, number: int) -> str:
        found = [run.status for run in self.laps if run.replicate == FIRST_RACE + number]
        return found[0] if found else ""


def racers(record: Record) -> tuple[Racer, ...]:
    """Those of the newest race, the search's best first."""
    if record.race is None:
        return ()
    trials = map(record.trial, record.race.candidates)  # as this search numbers them
    again = sorted(record.trials(RACE), key=lambda run: run.replicate)
    return tuple(Racer(t, tuple(run for run in again if run.config == t.config)) for t in trials)


def stay(field: Sequence[Racer], rounds: int = ROUNDS) -> tuple[Racer, ...]:
    """Those that the first rounds leave in the race.

    Out is who lost a run, and from the second round on who is behind the best mean by more than
    the 95 % interval of a difference of two means allows, by the spread of all that are still in.
    Among several objectives the best mean of those that cost no more.
    """
    left = tuple(field)
    for number in range(1, rounds + 1):
        left = tuple(one for one in left if len(one.values(number)) == number)
        if number > 1 and len(left) > 1:
            n, noise = number, Noise.of([one.values(number) for one in left])
            half = noise.half(n, n)
            left = tuple(
                one
                for one in left
                if not any(
                    other.worth(n) - one.worth(n) > half and no_dearer(other.trial, one.trial)
                    for other in left
                )
            )
    return left


@dataclass(frozen=True)
class Noise:
    """The pooled spread of runs that differ by chance alone, and its degrees of freedom."""

    pooled: float
    df: int

    @classmethod
    def of(cls, values: Sequence[Sequence[float]]) -> "Noise":
        """Of rows of at least two runs."""
        df = sum(len(row) - 1 for row in values)
        return cls(sum((len(row) - 1) * variance(row) for row in values) / df, df)

    def half(self, *sizes: int) -> float:
        """Half the width of the 95 % interval of a mean of so many runs, or of the difference of
        two such.
        """
        from scipy.special import stdtrit

        return float(stdtrit(self.df, LEVEL)) * math.sqrt(sum(self.pooled / n for n in sizes))


def _lap(key: str, trial: Run, number: int) -> events.Trial:
    """The event with which a round's run of a trial begins."""
    return events.Trial(
        run=key,
        search=RACE,
        trial=trial.number,
        knobs=trial.knobs,
        asked=None,
        replicate=FIRST_RACE + number,
        config=trial.config,
        costs=trial.costs,
    )


def laps(field: Sequence[Racer]) -> Iterator[tuple[Run, int]]:
    """(trial, round) of the runs that are not over yet and can be begun: of the first two rounds at
    once, of later ones as soon as it is known who is still in. One alone need not run.
    """
    for number in range(1, ROUNDS + 1 if len(field) > 1 else 1):
        left = stay(field, number - 2) if number > 2 else field
        if number > 2 and not all(one.ended(number - 1) for one in left):
            return
        for one in stay(left, number - 1) if number > 2 else left:
            if not one.ended(number) and not one.lost(number - 1):
                yield one.trial, number


def pick(record: Record, most: int) -> list[str]:
    """The runs of the best trials, as many as may race, or of points of the front; of equal
    configurations the best trial.
    """
    found: dict[str, str] = {}
    ranked = record.ranked_trials() if most else []
    several = any(run.costs for run in ranked)
    for run in chosen(front(record), record) if several else ranked:
        config = TrainConfig.parse(run.config, source=f"run {run.key}")
        found.setdefault(config.in_force().fingerprint(), run.key)
        if len(found) == most:
            break
    return list(found.values())


def decided(record: Record) -> events.Race | None:
    """How the newest race ended, the laps being over: the trial of the best mean stays, of equal
    ones the better. None where all were lost.
    """
    field = racers(record)
    left = stay(field) if len(field) > 1 else field
    if record.race is None or not left:
        return None
    best = max(left, key=lambda one: one.worth() if one.laps else 0.0).trial
    study = record.study
    return events.Race(
        candidates=record.race.candidates,
        winner=best.key,
        arm=found_name(study.baseline.select, study.search.objectives, best.number),
        overrides=Around(study.space, study.baseline).overrides(best.knobs),
    )


def outstanding(record: Record, asked: int) -> bool:
    """Whether anything is left of a race of so many, the search being over."""
    race = record.race
    known = race.candidates if race else []
    if not asked or pick(record, asked) != known:
        return bool(asked)
    if race is None:
        return False
    return any(laps(racers(record))) or not (race.winner or decided(record) is None)


class Race:
    """The race as a plan goes through it; `record` is kept up to date by the ledger's listener."""

    def __init__(
        self, study: Study, ledger: Ledger, record: Record, keys: Keys, *, with_search: bool
    ) -> None:
        self.study, self.ledger, self.record, self.keys = study, ledger, record, keys
        # arms that are tuned have winners of their own, which might be this very configuration
        raced = with_search and study.search.num_trials and study.ablation.tuning.name == "fixed"
        self.asked = study.search.race if raced else 0
        self.most = self.asked  # fewer for want of time
        self._picked: tuple[tuple[int, int], list[str]] = (-1, -1), []  # since what ranks them

    def next(self, busy: Collection[str]) -> Run | None:
        """The run to begin now, the search being over, where `busy` are those in training or about
        to be. What is begun and what is decided is in the ledger by then.
        """
        if best := self.due():
            self.ledger.append(events.Race(candidates=best))
        race = self.record.race
        if not self.most or race is None:
            return None
        todo = tuple(laps(racers(self.record)))
        for trial, number in todo:
            config = TrainConfig.parse(trial.config, source=f"run {trial.key}")
            key = self.keys.of(config, FIRST_RACE + number)
            if key not in self.record.runs:
                self.ledger.append(_lap(key, trial, number))
            if key not in busy:
                return self.record.runs[key]
        if not todo and not race.winner and (ended := decided(self.record)) is not None:
            self.ledger.append(ended)
        return None

    def able(self) -> bool:
        """Whether there is anyone to race."""
        return bool(self._pick())

    def due(self) -> list[str]:
        """The runs of a race that is to begin, the search being over; none where it has begun."""
        best = self._pick()
        known = self.record.race.candidates if self.record.race else []
        return best if best != known else []

    def _pick(self) -> list[str]:
        """As `pick`; reckoned anew where a ranking may have changed, since it is asked for before
        each segment, and of thousands of trials.
        """
        asked = self.record.rankings, self.most
        if self._picked[0] != asked:
            self._picked = asked, pick(self.record, self.most)
        return self._picked[1]

    def outstanding(self) -> bool:
        """Whether anything is left of it, the search being over; changes nothing."""
        return outstanding(self.record, self.asked)

    def wanted(self, run: Run) -> bool:
        """Whether a new session takes up this run of the race: one that was interrupted, or that
        failed while it was open who stays.
        """
        race = self.record.race
        mine = any(run.key == lap.key for one in racers(self.record) for lap in one.laps)
        return bool(self.most and race and mine and not (race.winner and run.status == "failed"))

    def left_epochs(self) -> int:
        """Of its laps, and of the replicates of the arm that it leads to, as far as neither is an
        arm's already; at most.
        """
        race = self.record.race
        if not self.most or (race and race.winner and not self.due()):
            return 0
        epochs = self.study.baseline.epochs
        done = sum(len(run.epochs) for one in racers(self.record) for run in one.laps)
        num_laps = self.most * ROUNDS if self.most > 1 else 0
        return max(num_laps * epochs - done, 0) + self.study.ablation.replicates * epochs
