"""Whose hyperparameters the arms of an ablation are trained with, and what of the search space is
an arm's to tune.

Every hyperparameter is scientific, nuisance or fixed for a given question (Google's "Deep Learning
Tuning Playbook"): what the design sets in any arm is scientific and is searched in none; the rest
of the space is nuisance.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.config import TrainConfig
from pipeline.frozen import Frozen, Scalar
from pipeline.study.around import own_knobs
from pipeline.study.expression import parse
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
    `first`: points that are tried before a sampler is asked. `past`: another study's, best first.
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
    past: tuple[Mapping[str, Scalar], ...] = ()


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
    place in the arm's config is left out. Rules go with what they are about.
    """
    paths = tuple(scientific)

    def free(path: str) -> bool:
        part = path.removesuffix("name")
        within = path.endswith(".name") and any(other.startswith(part) for other in paths)
        return not within and not any(
            path == other or path.startswith(f"{other}.") for other in paths
        )

    derived = {path: text for path, text in space.derived.items() if free(path)}
    used = {name for text in derived.values() for name in parse(text).names}
    own = own_knobs(space)
    knobs = {
        path: knob
        for path, knob in space.knobs.items()
        if free(path) and (path in used if path in own else path in flat)
    }
    when, branches = dict(space.when), {}
    for part, variants in space.branches.items():
        if free(f"{part}.name"):
            branches[part] = dict(variants)
        else:
            name = str(flat.get(f"{part}.name"))
            for field, knob in variants.get(name, {}).items():
                if free(path := f"{part}.{field}") and path in flat:
                    knobs[path] = knob
                    if condition := when.get(f"{part}.{name}.{field}"):
                        when[path] = condition
    if not knobs and not branches:
        return None
    found = Space(knobs=knobs, branches=branches)
    rules = {
        "where": [t for t in space.where if not {*parse(t).names} & (own - knobs.keys())],
        "when": {slot.name: when[slot.name] for slot in found.slots() if slot.name in when},
        "derived": derived,
    }
    return _settled(Space.parse({**found.model_dump(), **rules}, source="space of an arm"), flat)


def _settled(space: Space, flat: Mapping[str, Scalar]) -> Space | None:
    """The space without conditions that speak of nothing it searches: their knobs are the arm's to
    tune, or not, by the values that it has.
    """
    searched = {slot.path for slot in space.slots()}
    fixed = [name for name, text in space.when.items() if not searched & {*parse(text).names}]
    if not fixed:
        return space
    slots = {slot.name: slot for slot in space.slots()}
    tree = space.model_dump()
    for name in fixed:
        slot = slots[name]
        del tree["when"][name]
        if not space.has(replace(slot, part="", variant=""), {}, lambda _: flat):
            fields = tree["branches"][slot.part][slot.variant] if slot.part else tree["knobs"]
            fields.pop(slot.path.removeprefix(f"{slot.part}.") if slot.part else slot.path, None)
            if slot.path.removesuffix(".name") in tree["branches"]:
                del tree["branches"][slot.path.removesuffix(".name")]
    if not tree["knobs"] and not tree["branches"]:
        return None
    return _settled(Space.parse(tree, source="space of an arm"), flat)
