"""Whose hyperparameters the arms of an ablation are trained with, and what of the search space is
an arm's to tune.

Every hyperparameter is scientific, nuisance or fixed for a given question (Google's "Deep Learning
Tuning Playbook"): what the design sets in any arm is scientific and is searched in none; the rest
of the space is nuisance.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.config import TrainConfig
from pipeline.frozen import Frozen, Scalar
from pipeline.study.space import Space

FIRST_SPLIT = 1000
"""Mini-study r of an arm trains on replicate FIRST_SPLIT + r: a split and initial weights that no
arm is judged on.
"""

RACE = "race"
"""The search, so to say, that the runs of a race belong to."""


class Fixed(Frozen):
    """Every arm takes the baseline's hyperparameters."""

    name: Literal["fixed"] = "fixed"


class _Searched(Frozen):
    num_trials: int = Field(
        default=20, ge=2, le=100_000, description="of each arm, its own configuration included"
    )


class PerArm(_Searched):
    """Every arm has a search of its own; all its replicates are trained with the best configuration
    found.
    """

    name: Literal["per_arm"] = "per_arm"


class Replicated(_Searched):
    """The trials of an arm are shared out to as many small searches as it has replicates, each on a
    split of its own; replicate r is trained with the best configuration of search r.

    Intervals then cover the luck of the tuning too (X. Bouthillier et al., "Accounting for variance
    in machine learning benchmarks", MLSys 2021).
    """

    name: Literal["replicated"] = "replicated"


Tuning = Annotated[Fixed | PerArm | Replicated, Field(discriminator="name")]


@dataclass(frozen=True)
class Target:
    """What a search looks for: the best of `space` around `config`, its trial 0.

    `name` is "" for the study's own search, "arm:NAME" or "arm:NAME#r" for an arm's. `replicate` is
    that of its trials, `serves` the replicate of the arm that it is for (0: all of them).
    `first`: points that are tried before a sampler is asked.
    """

    name: str
    config: TrainConfig
    space: Space
    num_trials: int
    seed: int
    arm: str = ""
    replicate: int = 0
    serves: int = 0
    first: tuple[Mapping[str, Scalar], ...] = ()


def targets(
    tuning: Tuning,
    arms: Mapping[str, tuple[TrainConfig, Space | None]],
    *,
    replicates: int,
    seed: int,
) -> tuple[Target, ...]:
    """The searches of the arms, in the order they are run; none for an arm without a space.

    The seeds are not the main search's but the same for all arms: where two arms tune the same
    knobs they begin with the same random points.
    """
    found = []
    sizes = num_trials(tuning, replicates)
    for study, size in enumerate(sizes, 1):
        for arm, (config, space) in arms.items():
            if space is not None:
                several = isinstance(tuning, Replicated)
                name, split, serves = (
                    (f"arm:{arm}#{study}", FIRST_SPLIT + study, study)
                    if several
                    else (f"arm:{arm}", 0, 0)
                )
                found.append(
                    Target(name, config, space, size, seed + (study << 31), arm, split, serves)
                )
    return tuple(found)


def num_trials(tuning: Tuning, replicates: int) -> tuple[int, ...]:
    """Trials of each search of an arm."""
    if isinstance(tuning, Fixed):
        return ()
    return (
        (tuning.num_trials,)
        if isinstance(tuning, PerArm)
        else (tuning.num_trials // replicates,) * replicates
    )


def nuisance(space: Space, flat: Mapping[str, Scalar], scientific: Iterable[str]) -> Space | None:
    """The part of `space` that an arm of the flattened config `flat` may tune; None where nothing
    is left.

    `scientific` holds the paths that the design sets in any arm. They are left out, and so is the
    choice of a part's variant where the design sets anything of that part: a field's meaning
    depends on the variant. Of such a part the fields of the arm's own variant stay. What has no
    place in the arm's config is left out.
    """
    paths = tuple(scientific)

    def free(path: str) -> bool:
        part = path.removesuffix("name")
        within = path.endswith(".name") and any(other.startswith(part) for other in paths)
        return not within and not any(
            path == other or path.startswith(f"{other}.") for other in paths
        )

    knobs = {path: knob for path, knob in space.knobs.items() if free(path) and path in flat}
    branches = {}
    for part, variants in space.branches.items():
        if free(f"{part}.name"):
            branches[part] = variants
        else:
            fields = variants.get(str(flat.get(f"{part}.name")), {})
            found = {f"{part}.{field}": knob for field, knob in fields.items()}
            knobs |= {path: knob for path, knob in found.items() if free(path) and path in flat}
    return Space(knobs=knobs, branches=branches) if knobs or branches else None
