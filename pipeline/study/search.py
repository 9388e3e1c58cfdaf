"""The search of a study: what proposes, who goes on, what is tried first."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pipeline.counts import plural
from pipeline.frozen import Frozen
from pipeline.study.designs import Overrides
from pipeline.study.objectives import Objective, each_once
from pipeline.study.samplers import Sampler
from pipeline.study.schedulers import SCHEDULERS, Ladder, SchedulerName

NUM_FIRST = 1  # of another study's points; more of them cost more where it misleads

LISTENING = ("tpe", "gp", "nsga2")
"""The samplers that hear another study's order; of `cmaes` it was not measured."""


class Search(Frozen):
    """The budget and the way of the search. `num_trials` is the total, whatever was done before."""

    num_trials: int = Field(default=40, ge=0, le=100_000)
    sampler: Sampler = "tpe"
    scheduler: SchedulerName = "promotion"
    reduction: int = Field(
        default=3, ge=2, le=10, description="eta: one in eta goes on from a rung"
    )
    num_rungs: int = Field(
        default=3,
        ge=1,
        le=6,
        description="rungs at R/eta^(k-1), …, R/eta, R of a trial's own epochs",
    )
    race: int = Field(
        default=3,
        ge=0,
        le=100,
        description="best trials that are trained again on fresh replicates; the one that stays is "
        "an arm of the ablation; 0: none",
    )
    seed: int = Field(default=0, ge=0, lt=2**31)
    objectives: Annotated[tuple[Objective, ...], AfterValidator(each_once)] = Field(
        default=(),
        description="costs that the study's own search keeps low beside its metric: it looks for a "
        "front instead of a best trial",
    )
    first: tuple[Overrides, ...] = Field(
        default=(),
        description="points of the study's own search that are tried right after the baseline; "
        "knobs that one does not name have the baseline's values",
    )
    warmed: tuple[Overrides, ...] = Field(
        default=(),
        description="points tried after these, which studies begun by earlier versions took from "
        "another study's record",
    )
    portfolio: tuple[Overrides, ...] = Field(
        default=(),
        description="points tried after these, which were good on other pictures; those that do "
        "not lie in the space are left out",
    )
    past: tuple[Overrides, ...] = Field(
        default=(),
        description="points of another study's record, best first: the best is tried after these, "
        "and a sampler that learns hears their order while it agrees with the search's own trials",
    )
    past_of: str = Field(default="", description="the folder of that study")

    @model_validator(mode="after")
    def _of_a_study(self) -> "Search":
        if self.past and not self.past_of:
            raise ValueError(
                f"past: got {plural(len(self.past), 'point')} of no study; allowed: --warm-start "
                "FOLDER, which sets past and past_of"
            )
        return self

    @property
    def ladder(self) -> Ladder:
        """Where trials are judged."""
        return SCHEDULERS[self.scheduler].rungs(self.reduction, self.num_rungs)

    @property
    def listens(self) -> bool:
        """Whether the order of another study's points is heard: by a sampler that hears it,
        of the metric alone.
        """
        return self.sampler in LISTENING and not self.objectives

    @property
    def way(self) -> str:
        """What the scheduler does, in words."""
        return SCHEDULERS[self.scheduler].words(self.reduction)

    def unused(self) -> str:
        """A field that was set and that the scheduler does not use; '' where there is none."""
        theirs = frozenset[str]().union(*(kind.uses for kind in SCHEDULERS.values()))
        idle = theirs - SCHEDULERS[self.scheduler].uses
        defaults = type(self).model_fields
        return next((f for f in sorted(idle) if getattr(self, f) != defaults[f].default), "")
