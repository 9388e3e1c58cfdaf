"""A study that has grown: which of the recorded runs still mean what they meant.

A replicate is known by what its arm is (its configuration, and where arms are tuned the space),
never by the arm's name: so an arm may be renamed, taken out and taken up again.
"""

from collections.abc import Iterable

from pipeline.core.config import TrainConfig
from pipeline.frozen import Scalar, digest, flatten
from pipeline.record.runs import Run
from pipeline.study.around import Around
from pipeline.study.space import Space
from pipeline.study.study import Study
from pipeline.study.tuning import Target


def names(study: Study) -> list[str]:
    """The arms in the order of the table."""
    if study.ablation.found:
        return [arm.name for arm, _ in study.all_arms()]
    return [arm.name for arm in study.ablation.design.expand()]


def arm_of(study: Study, config: TrainConfig) -> str:
    """The arm that is trained with this configuration as far as it is in force; '' for none."""
    made = config.in_force().fingerprint()
    arms = study.all_arms()
    return next((arm.name for arm, own in arms if own.in_force().fingerprint() == made), "")


def definitions(study: Study) -> dict[str, str]:
    """Arm → a digest of what its runs are."""
    found = {}
    for arm, (config, space) in study.spaces().items():
        tuned = space is not None and study.ablation.tuning.name != "fixed"
        searched = space.content() if space is not None and tuned else {}
        policy = study.ablation.tuning.model_dump(mode="json")
        made = {"config": config.in_force().fingerprint(), "space": searched, "tuning": policy}
        found[arm] = digest(made)
    return found


def marks(forms: Iterable[Study]) -> dict[str, str]:
    """Arm of the last of a study's forms → "", or a mark where an arm of that name was something
    else in an earlier one.
    """
    first: dict[str, str] = {}
    now: dict[str, str] = {}
    for form in forms:
        now = definitions(form)
        first = {**now, **first}
    return {arm: "" if first[arm] == made else made[:8] for arm, made in now.items()}


def rename(runs: Iterable[Run], before: Study, after: Study) -> None:
    """Give the replicates among `runs` the arm of `after` that they are runs of; "" where it has
    none.
    """
    former = definitions(before)
    names = {made: arm for arm, made in definitions(after).items()}
    for run in runs:
        if run.kind == "arm":
            run.defined = former.get(run.arm, run.defined)
            run.arm = names.get(run.defined, "")


def searches(study: Study) -> tuple[Target, ...]:
    """The study's own search, then those of its arms."""
    own = Target("", study.baseline, study.space, study.search.num_trials, study.search.seed)
    return (own, *study.targets())


def looked_for(target: Target) -> str:
    """A digest of what a search looks for, whatever it is called and however long it may take."""
    config, space = target.config.in_force().fingerprint(), target.space.content()
    chance = [target.seed, target.replicate, target.serves]
    return digest({"config": config, "space": space, "chance": chance})


def begun(runs: Iterable[Run], target: Target) -> bool:
    """Whether a replicate has been begun with what the search of an arm chose: it is over."""
    return any(
        run.kind == "arm" and run.arm == target.arm and target.serves in (0, run.replicate)
        for run in runs
        if target.arm
    )


def place(run: Run, config: TrainConfig, space: Space) -> dict[str, Scalar] | None:
    """The knobs with which a search of `space` around `config` proposes what `run` is trained with;
    None where it never does.
    """
    around = Around(space, config)
    knobs = around.point(dict(flatten(run.config)), run.knobs)
    if knobs is None or around.refusal(knobs):
        return None
    made = around.made(knobs, source=f"run {run.key}")
    return knobs if made.model_dump(mode="json") == run.config else None
