"""A study: baseline, search space, search budget, ablation."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from pydantic import Field

from pipeline.core.config import TrainConfig
from pipeline.counts import plural
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import Frozen, Scalar, flatten
from pipeline.study.around import Around
from pipeline.study.designs import Arm, Design, Label, Overrides
from pipeline.study.names import NAME
from pipeline.study.objectives import FOUND
from pipeline.study.samplers import unfit
from pipeline.study.schedulers import SCHEDULERS
from pipeline.study.search import NUM_FIRST
from pipeline.study.search import Search as Search
from pipeline.study.space import Space
from pipeline.study.survey import check
from pipeline.study.tuning import Fixed, Replicated, Target, Tuning, nuisance, num_trials, targets

PILOT_RUNS = 3  # of the reference, from which the pilot says what the ablation will be able to see
EQUAL = (
    "dataset",
    "split",
    "folds",
    "precision",
    "select",
    "epochs",
    "metrics",
    "attack",
)  # what a comparison of arms is void without
BY_DESIGN = ("epochs", "precision")  # unless this is what an arm is: it then sets them itself
LEAST_LEVELS = 3  # that variance is told apart by


class Ablation(Frozen):
    """The arms to train and how their differences are judged."""

    design: Design
    replicates: int = Field(default=5, ge=1, le=1000)
    until_answered: bool = Field(
        default=False,
        description="look at the results as they come, and give arms whose questions are all "
        "settled no more replicates; `replicates` is then the maximum",
    )
    rope: float = Field(
        default=0.01,
        gt=0,
        allow_inf_nan=False,
        description="smallest difference of practical interest, in shares of 1; of a metric of "
        "which less is better in its own unit",
    )
    variance: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="replicates of the reference that are taken apart by what chance drew anew: "
        "order, initial weights, split, tuning; 0: none",
    )
    tuning: Tuning = Fixed()
    match: str = Field(
        default="",
        description="path of a whole number that gives every arm the reference's parameters",
    )
    matched: dict[str, int] = Field(
        default={}, description="arm → that number, found when the study begins"
    )
    found: dict[Label, Overrides] = Field(
        default={}, description="arm → what it sets, found by the search"
    )


def is_default_margin(rope: float) -> bool:
    """Whether nobody chose the margin: it is then called the default wherever it is spoken of."""
    return bool(rope == Ablation.model_fields["rope"].default)


class Fallback(Frozen):
    """What the study becomes where its data is not found; `note` is shown wherever its results
    are.
    """

    note: str
    overrides: Overrides


class Study(Frozen):
    """Everything that `python -m pipeline.search --study NAME` needs."""

    name: str = Field(pattern=rf"^{NAME.pattern}$")
    title: str
    question: str = Field(
        default="",
        max_length=400,
        description="what it asks: the report begins with it and its answer",
    )
    data: str | None = Field(
        default=None, description="folder of pictures, relative to the working directory"
    )
    data_env: str | None = Field(
        default=None, description="environment variable that names the folder instead"
    )
    baseline: TrainConfig
    space: Space
    search: Search = Search()
    ablation: Ablation
    fallback: Fallback | None = None

    def arms(self) -> tuple[tuple[Arm, TrainConfig], ...]:
        """The arms with their configs; raises UserError where an arm is illegal or equals
        another.
        """
        return self._arms

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of any model; what was derived from the old values is none of the copy's."""
        made = super().model_copy(update=update, deep=deep)
        made.__dict__.pop("_arms", None)
        return made

    @functools.cached_property
    def _arms(self) -> tuple[tuple[Arm, TrainConfig], ...]:
        source = f"study '{self.name}'"
        pairs: list[tuple[Arm, TrainConfig]] = []
        seen: dict[str, str] = {}
        for arm in self.ablation.design.expand():
            arm = self._matched(arm, reference=not pairs)
            config = self.baseline.override(
                arm.overrides, source=f"{source}, arm '{printable(arm.name)}'"
            )
            self._require_equal(arm, config, reference=not pairs)
            twin = seen.setdefault(config.in_force().fingerprint(), arm.name)
            if twin != arm.name:
                raise UserError(
                    f"{source}: arms '{printable(twin)}' and '{printable(arm.name)}' are the same "
                    "configuration: a factor has no effect (some settings have none without "
                    "another, as amounts of augmentation while augment.strength is 0; or the "
                    "baseline has the same, as epochs of --epochs, or a precision that auto is "
                    "on this machine)"
                )
            pairs.append((arm, config))
        return tuple(pairs)

    def _require_equal(self, arm: Arm, config: TrainConfig, *, reference: bool) -> None:
        """Raises UserError where an arm differs in what it may not."""
        source, own = (
            f"study '{self.name}', arm '{printable(arm.name)}'",
            dict(flatten(arm.overrides)),
        )
        for part in BY_DESIGN if reference else ():
            if part in own:
                raise UserError(
                    f"{source}: {part}: the reference has the baseline's; allowed: "
                    f"baseline.{part}, and what differs from it in other arms"
                )
        for part in EQUAL:
            if getattr(config, part) == getattr(self.baseline, part) or part in {*BY_DESIGN} & {
                *own
            }:
                continue
            also = (
                "; what of the pictures' pixels the network sees may differ: input_size"
                if set(own) & {"dataset.size"}
                else ""
            )
            raise UserError(f"{source}: {part}: it must be the same for all arms{also}")
        if own.get("precision") == "auto":
            raise UserError(
                f"{source}: precision: got auto, which is what the machine is fast at; allowed for "
                "one arm: a precision by name, or leave it out"
            )

    def all_arms(self) -> tuple[tuple[Arm, TrainConfig], ...]:
        """The arms of the design, then what the search found, unless an arm is that already."""
        pairs = self.arms()
        known = {config.in_force().fingerprint() for _, config in pairs}
        for name, overrides in self.ablation.found.items():
            config = self.baseline.override(overrides, source=f"arm '{printable(name)}'")
            if config.in_force().fingerprint() not in known:
                pairs += ((Arm(name, overrides), config),)
        return pairs

    def _matched(self, arm: Arm, *, reference: bool) -> Arm:
        """The arm with the number that gives it the reference's parameters, once that is known."""
        path, where = (
            self.ablation.match,
            f"study '{self.name}', arm '{printable(arm.name)}': ablation.match",
        )
        if not path or reference:
            return arm
        if path in dict(flatten(arm.overrides)):
            raise UserError(
                f"{where}: {printable(path)}: the arm sets it itself, so it cannot be chosen for it"
            )
        flat = self.baseline.override(arm.overrides, source=where).flat()
        if type(flat.get(path)) is not int or not path.startswith("model."):
            numbers = [
                known
                for known, value in flat.items()
                if type(value) is int and known.startswith("model.")
            ]
            raise UserError(f"{where}: no whole number of its network; {choices(path, numbers)}")
        if arm.name not in self.ablation.matched:
            return arm
        return replace(arm, overrides={**arm.overrides, path: self.ablation.matched[arm.name]})

    def check(self) -> None:
        """Raise UserError unless every end of the space and every arm is a legal TrainConfig."""
        if self.ablation.rope >= 1 and self.baseline.sign > 0:
            raise UserError(
                f"study '{self.name}', ablation.rope: got {self.ablation.rope:g}; allowed: below "
                f"1, as {self.baseline.select} is a share of 1"
            )
        if self.ablation.matched and not self.ablation.match:
            raise UserError(
                f"study '{self.name}', ablation.matched: found when a study begins; set "
                "ablation.match instead"
            )
        for arm in self.ablation.design.expand():
            if FOUND.fullmatch(arm.name):
                raise UserError(
                    f"study '{self.name}', arm '{arm.name}': what a search finds is called so; "
                    "give the arm another name"
                )
        space = self.space
        knobs = [*space.knobs, *(f"{part}.name" for part in space.branches), *space.derived]
        for path in knobs:
            if path.split(".")[0] in {*EQUAL} - {"epochs"}:
                raise UserError(
                    f"study '{self.name}', space: {path}: it must be the same for all trials"
                )
        if refused := unfit(self.search.sampler, self.space, self.search.objectives):
            raise UserError(f"study '{self.name}', search.sampler: {refused}")
        if field := self.search.unused():
            users = [name for name, kind in SCHEDULERS.items() if field in kind.uses]
            raise UserError(
                f"study '{self.name}', search.{field}: got {getattr(self.search, field)}, which "
                f"the scheduler {self.search.scheduler} does not use; allowed: leave it out, or "
                f"search.scheduler={' or '.join(users)}"
            )
        check(Around(self.space, self.baseline), source=f"study '{self.name}', space")
        self._check_variance()
        self.first_points()
        self._check_tuning()

    def first_points(self) -> tuple[dict[str, Scalar], ...]:
        """The points that the study's own search tries first, whole; of those of other studies the
        ones that lie in the space, which may have changed since. Raises UserError.
        """
        around, source = Around(self.space, self.baseline), f"study '{self.name}', search.first"
        own = tuple(
            around.complete(point, source=f"{source}, point {number}")
            for number, point in enumerate(self.search.first, 1)
        )
        warmed = around.within(self.search.warmed)
        return own + warmed + self.from_portfolio + self.from_past[:NUM_FIRST]

    @property
    def from_portfolio(self) -> tuple[dict[str, Scalar], ...]:
        """The points of the portfolio that the search can try as they are."""
        return Around(self.space, self.baseline).within(self.search.portfolio, whole=True)

    @property
    def from_past(self) -> tuple[dict[str, Scalar], ...]:
        """The points of another study that lie in the space, best first."""
        return Around(self.space, self.baseline).within(self.search.past)

    def spaces(self) -> dict[str, tuple[TrainConfig, Space | None]]:
        """Arm → its config and the part of the space that is its to tune, where arms are tuned;
        None: nothing is, as of what the search has found.
        """
        arms = self.arms()
        alike = (*EQUAL, "patience", *filter(None, (self.ablation.match,)))
        scientific = {*alike, *(path for arm, _ in arms for path, _ in flatten(arm.overrides))}
        tuned = {arm.name: nuisance(self.space, config.flat(), scientific) for arm, config in arms}
        return {arm.name: (config, tuned.get(arm.name)) for arm, config in self.all_arms()}

    def targets(self) -> tuple[Target, ...]:
        """The searches of the arms, in the order they are run; none where they are not tuned."""
        if isinstance(self.ablation.tuning, Fixed):
            return ()
        return targets(
            self.ablation.tuning,
            self.spaces(),
            replicates=self.ablation.replicates,
            seed=self.search.seed,
        )

    def _check_variance(self) -> None:
        asked, most = self.ablation.variance, self.ablation.replicates
        where = f"study '{self.name}', ablation.variance: got {asked}"
        if 0 < asked < LEAST_LEVELS:
            raise UserError(
                f"{where}; allowed: 0 (off), or at least {LEAST_LEVELS}, as fewer tell no spread"
            )
        if isinstance(self.ablation.tuning, Replicated) and asked > most:
            raise UserError(
                f"{where}; allowed with ablation.tuning=replicated: at most ablation.replicates "
                f"({most}), as each replicate has a search of its own"
            )

    def _check_tuning(self) -> None:
        source, tuning = f"study '{self.name}'", self.ablation.tuning
        if isinstance(tuning, Replicated) and min(num_trials(tuning, self.ablation.replicates)) < 2:
            raise UserError(
                f"{source}: ablation.tuning.num_trials: each of "
                f"{plural(self.ablation.replicates, 'replicate')} needs a search of at least 2 "
                f"trials (got {tuning.num_trials}); allowed: at least "
                f"{2 * self.ablation.replicates}"
            )
        if isinstance(tuning, Fixed):
            self.arms()
            return
        for arm, (config, space) in self.spaces().items():
            if space is not None:
                whose = f"{source}, space of arm '{printable(arm)}'"
                check(Around(space, config), source=whose)
