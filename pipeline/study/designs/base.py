"""What every design has: arms, factors, and the questions its arms can answer."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import to_jsonable_python

from pipeline.errors import printable
from pipeline.frozen import Frozen
from pipeline.study.questions import Question, differences, factorial_questions, shapley_questions

Overrides = Annotated[
    dict[str, Any], AfterValidator(to_jsonable_python)
]  # parts given as objects become plain data
Label = Annotated[str, Field(min_length=1, max_length=100)]

SPELLED_OUT = 3  # up to so many factors, an arm's name lists all that are on


@dataclass(frozen=True)
class Arm:
    """One row of the ablation table. `levels` says which factors are on (empty where the design has
    no factors).
    """

    name: str
    overrides: Mapping[str, Any]
    levels: Mapping[str, bool] = field(default_factory=dict)


class Scheme(Frozen):
    """A design. Every member of the union has a `name`, the arms, and what may be asked of them."""

    name: str

    def factors(self) -> tuple[str, ...]:
        """What is switched on and off, in the order of the table's columns."""
        return ()

    def crossing(self) -> Mapping[str, tuple[str, ...]]:
        """Factor → its levels, the base first, where `factors()` are levels: the columns of one
        factor stand for its levels but the base. Empty where factors are off and on.
        """
        return {}

    def expand(self) -> tuple[Arm, ...]:
        """The arms in table order, the reference first; no two of one name."""
        raise NotImplementedError

    def questions(self) -> tuple[Question, ...]:
        """What the arms can answer: differences from the reference, and the effects where they are
        a full factorial.
        """
        arms = self.expand()
        levels = {arm.name: arm.levels for arm in arms}
        return (
            *differences(levels, arms[0].name),
            *factorial_questions(levels),
            *shapley_questions(levels),
        )


class Factors(Scheme):
    """Factors that are off or on: `on` holds a factor's overrides of the baseline, `off` those that
    take it away.

    One of the two is enough: `on` where the baseline lacks the factor, `off` where it has it. A
    factor may be a part on or off, another value, or a whole family (`{"model.name": "resnet18"}`).
    An arm is called the same in every design: by its factors if few are on, by those it lacks if
    few are off.
    """

    reference: Label = Field(
        default="baseline",
        description=(
            "what the arm with every factor off is called; 'none' unless set where `off` "
            "alone is given"
        ),
    )
    on: dict[Label, Overrides] = Field(default={})
    off: dict[Label, Overrides] = Field(default={})

    MIN: ClassVar[int] = 1
    MAX: ClassVar[int] = 20
    ORDERED: ClassVar[bool] = (
        False  # whether factors come one after another, so that a later one may replace an earlier
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """Where every factor is taken away from the baseline, what is left of it may not be called
        the baseline.
        """
        bare = (
            isinstance(given, Mapping)
            and given.get("off")
            and not given.get("on")
            and "reference" not in given
        )
        return {**given, "reference": "none"} if bare else given

    @model_validator(mode="after")
    def _compatible(self) -> "Factors":
        factors = self.factors()
        if not self.MIN <= len(factors) <= self.MAX:
            limit = f"at least {self.MIN}" if len(factors) < self.MIN else f"at most {self.MAX}"
            raise ValueError(
                f"{limit} factors belong in `on` or `off` of this design (got {len(factors)})"
            )
        if self.reference in factors:
            raise ValueError(
                f"a factor may not be called '{self.reference}', the name of the reference arm"
            )
        paths = {
            factor: {*self.on.get(factor, ()), *self.off.get(factor, ())} for factor in factors
        }
        check_paths(paths, ordered=self.ORDERED and not self.off)
        arms = self.expand()
        check_names(arms)
        check_asked(factorial_questions({arm.name: arm.levels for arm in arms}), "factors")
        return self

    def factors(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.on, *self.off)))

    def arm(self, chosen: Iterable[str]) -> Arm:
        """The arm with the factors `chosen` on."""
        levels = dict.fromkeys(self.factors(), False) | dict.fromkeys(chosen, True)
        overrides: dict[str, Any] = {}
        for factor, on in levels.items():
            overrides |= (self.on if on else self.off).get(factor, {})
        return Arm(self.called(levels), overrides, levels)

    def called(self, levels: Mapping[str, bool]) -> str:
        """The name of the arm with these levels."""
        return arm_name(levels, self.reference)

    def without(self) -> tuple[Arm, ...]:
        """The arms that lack one factor each."""
        factors = self.factors()
        return tuple(self.arm(other for other in factors if other != factor) for factor in factors)


def lacking_name(levels: Mapping[str, bool], reference: str) -> str:
    """What an arm is called by what it lacks, however few the factors."""
    lacking = [factor for factor, is_on in levels.items() if not is_on]
    if len(lacking) == len(levels) or len(levels) == 1:
        return arm_name(levels, reference)
    return f"without {', '.join(lacking)}" if lacking else f"all {len(levels)}"


def arm_name(levels: Mapping[str, bool], reference: str) -> str:
    """What an arm is called, by its levels alone."""
    on = [factor for factor, is_on in levels.items() if is_on]
    lacking = [factor for factor, is_on in levels.items() if not is_on]
    if not on:
        return reference
    if len(levels) <= SPELLED_OUT or len(on) <= len(lacking):
        return " + ".join(on)
    return f"without {', '.join(lacking)}" if lacking else f"all {len(levels)}"


def check_paths(paths: Mapping[str, Iterable[str]], *, ordered: bool) -> None:
    """Raise ValueError where two factors set the same thing, so that what both do together is
    undefined.

    Of `ordered` factors the later one counts where both set one path; one may still not set a part
    of which another sets the whole.
    """
    for (a, left), (b, right) in itertools.combinations(paths.items(), 2):
        shared = sorted({x for x in left for y in right if x == y and not ordered})
        nested = sorted(
            {
                max(x, y, key=len)
                for x in left
                for y in right
                if x.startswith(f"{y}.") or y.startswith(f"{x}.")
            }
        )
        if shared or nested:
            raise ValueError(
                f"factors '{a}' and '{b}' both set {shared or nested}: their combination is "
                "undefined"
            )


def check_asked(questions: Iterable[Question], what: str) -> None:
    """Raise ValueError where two effects have one name, by which each is told and found; `what`
    they are named after.
    """
    effects = Counter(one.name for one in questions if one.kind in ("main", "interaction"))
    for name in (name for name, count in effects.items() if count > 1):
        raise ValueError(
            f"{what}: two effects are called '{printable(name, 60)}': name the {what} otherwise"
        )


def check_names(arms: Iterable[Arm]) -> None:
    """Raise ValueError where two arms have one name."""
    twice = [name for name, count in Counter(arm.name for arm in arms).items() if count > 1]
    if twice:
        raise ValueError(f"two arms are called '{twice[0]}': name the factors otherwise")
