"""One factor at a time: added to nothing, left out of everything, or both. Linear in the number of
factors.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pipeline.study.designs.base import Arm, Factors, arm_name, lacking_name
from pipeline.study.designs.factorial import Factorial
from pipeline.study.questions import Question, differences, factorial_questions


class AddOneIn(Factors):
    """The reference and each factor on its own (k + 1 arms): does it help alone? Blind to
    interactions.
    """

    name: Literal["add_one_in"] = "add_one_in"

    def expand(self) -> tuple[Arm, ...]:
        return (self.arm(()), *(self.arm((factor,)) for factor in self.factors()))


class LeaveOneOut(Factors):
    """All factors and all but one each (k + 1 arms): is it still needed? The reference is the arm
    with all of them.

    Differences are "without" minus "with": worse means that the factor contributes. `with_none`
    adds the arm that has none, so that the table says what all are worth together.
    """

    name: Literal["leave_one_out"] = "leave_one_out"
    with_none: bool = Field(default=False, description="also train the arm with every factor off")
    by_lack: bool = Field(
        default=False,
        description="call arms 'all 3' and 'without dropout' where the factors are few, too",
    )

    def called(self, levels: Mapping[str, bool]) -> str:
        return (lacking_name if self.by_lack else arm_name)(levels, self.reference)

    def expand(self) -> tuple[Arm, ...]:
        arms = (self.arm(self.factors()), *self.without())
        alone = len(self.factors()) == 1  # then leaving it out is having none
        return (*arms, self.arm(())) if self.with_none and not alone else arms


class Both(Factors):
    """Add-one-in and leave-one-out (2k + 2 arms, what they share once): does it help alone, and is
    it still needed?

    The arms that lack one factor are compared with the arm that has all, the others with the
    reference. For two factors this is the full factorial.
    """

    name: Literal["both"] = "both"

    def expand(self) -> tuple[Arm, ...]:
        factors = self.factors()
        arms = (
            self.arm(()),
            *(self.arm((factor,)) for factor in factors),
            *self.without(),
            self.arm(factors),
        )
        return tuple({tuple(arm.levels.values()): arm for arm in arms}.values())

    def questions(self) -> tuple[Question, ...]:
        arms, factors = self.expand(), self.factors()
        alone = [arm.name for arm in arms if sum(arm.levels.values()) == 1]
        full = self.arm(factors).name
        lacking = [arm.name for arm in self.without()] if len(factors) > 1 else []
        effects = factorial_questions({arm.name: arm.levels for arm in arms})
        return (
            *differences(dict.fromkeys((*alone, full)), arms[0].name),
            *differences(lacking, full),
            *effects,
        )


class Auto(Factors):
    """The full factorial of up to three factors; beyond that add-one-in and leave-one-out.

    Up to three, all combinations cost at most 8 arms and answer most. From four on they are 16 and
    more: `both` asks what a reader asks first in 2k + 2 arms. Ask by name for `factorial` with four
    factors, and for `fractional` to screen five or more.
    """

    name: Literal["auto"] = "auto"

    def chosen(self) -> Factorial | Both:
        """The design that this one is."""
        design = Factorial if len(self.factors()) <= 3 else Both
        return design(reference=self.reference, on=self.on, off=self.off)

    def expand(self) -> tuple[Arm, ...]:
        return self.chosen().expand()

    def questions(self) -> tuple[Question, ...]:
        return self.chosen().questions()
