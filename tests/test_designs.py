"""Every design's arms and questions: legal, distinct, and right about effects that are known."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import special
from studies import small_study

from pipeline.analysis.fairness import _redesigned
from pipeline.analysis.stats import answer, by_family
from pipeline.core.config import TrainConfig
from pipeline.study.designs import (
    DESIGNS,
    AddOneIn,
    Arms,
    Auto,
    Both,
    Crossed,
    Factorial,
    Factors,
    Fractional,
    Ladder,
    LeaveOneOut,
    OrderedPath,
)
from pipeline.study.questions import EFFECTS, SCREEN, SHAPLEY, STEPS, Alias
from pipeline.study.study import Ablation, Study

FACTORS = {
    "dropout": {"model.dropout": 0.25},
    "augmentation": {"augment.strength": 1.0},
    "ResNet": {"model.name": "resnet18"},
    "SGD": {"optimizer.name": "sgd", "optimizer.lr": 0.1},
    "smoothing": {"loss.smoothing": 0.1},
    "mixup": {"augment.mixup": 0.2},
    "small batches": {"batch_size": 16},
    "cosine": {"schedule.name": "cosine"},
}
OFF = {"smoothing": {"loss.smoothing": 0.0}, "dropout": {"model.dropout": 0.0}}


def some(count: int) -> dict:
    return dict(itertools.islice(FACTORS.items(), count))


SQUARE = {
    "plain": {},
    "A": FACTORS["dropout"],
    "A and B": {**FACTORS["dropout"], **FACTORS["SGD"]},
    "B": FACTORS["SGD"],
}
STEPPED = (
    {"optimizer.name": "sgd", "optimizer.lr": 0.05},
    {"model.dropout": 0.2},
    {"optimizer.lr": 0.1},
)
LEVELS = {
    "network": {"plain": {}, "ResNet": FACTORS["ResNet"], "wide": {"model.width": 24}},
    "augmentation": {"none": {"augment.mixup": 0.1}, "mild": {}, "strong": FACTORS["mixup"]},
    "steps": {"adam": {}, "SGD": FACTORS["SGD"]},
}


def crossed(*factors: str, **fields) -> Crossed:
    return Crossed(levels={factor: LEVELS[factor] for factor in factors}, **fields)


EXAMPLES = {
    "arms": [
        Arms(arms={"plain": {}, **FACTORS}),
        Arms(arms={"b": {"batch_size": 2}, "a": {}}),
        Arms(arms=SQUARE),
        Arms(arms={"plain": {}, **FACTORS}, against={"SGD": "ResNet", "mixup": "smoothing"}),
    ],
    "crossed": [
        crossed("network", reference="plain"),
        crossed("network", "steps"),
        crossed("network", "augmentation"),
        crossed("steps", "augmentation", "network"),
        Crossed(levels={name: {f"no {name}": {}, name: FACTORS[name]} for name in some(3)}),
    ],
    "factorial": [*(Factorial(on=some(k)) for k in (1, 2, 3, 4)), Factorial(on=some(1), off=OFF)],
    "add_one_in": [AddOneIn(on=some(k)) for k in (1, 2, 5)],
    "leave_one_out": [
        *(LeaveOneOut(on=some(k), with_none=k > 2) for k in (1, 2, 3, 5)),
        LeaveOneOut(off=OFF),
    ],
    "both": [*(Both(on=some(k)) for k in (1, 2, 3, 4, 8)), Both(on=some(2), off=OFF)],
    "auto": [Auto(on=some(k)) for k in (1, 2, 3, 4, 5)],
    "ladder": [Ladder(on=some(k)) for k in (1, 3, 6)],
    "path": [
        OrderedPath(steps=({"model.dropout": 0.2},)),
        OrderedPath(reference="default", steps=STEPPED),
    ],
    "fractional": [
        *(
            Fractional(on=some(k), resolution=r)
            for k, r in ((3, "III"), (7, "III"), (6, "IV"), (5, "V"))
        ),
        *(Fractional(on=some(k), resolution="plackett_burman") for k in (5, 8)),
    ],
}
EVERY_DESIGN = pytest.mark.parametrize(
    "design",
    [
        pytest.param(example, id=f"{name}-{i}")
        for name, found in EXAMPLES.items()
        for i, example in enumerate(found)
    ],
)


def levels_of(design) -> dict:
    return {arm.name: arm.levels for arm in design.expand()}


def test_every_design_has_examples_here():
    assert set(EXAMPLES) == {design.model_fields["name"].default for design in DESIGNS}


@EVERY_DESIGN
def test_arms_have_names_of_their_own_and_say_their_levels(design):
    arms = design.expand()
    assert len({arm.name for arm in arms}) == len(arms) >= 2
    assert all(arm.name for arm in arms)
    for arm in arms:
        assert tuple(arm.levels) == design.factors()
    assert len({tuple(arm.levels.values()) for arm in arms}) == (
        len(arms) if design.factors() else 1
    )
    assert design.expand() == arms


@EVERY_DESIGN
def test_every_arm_is_a_config_of_its_own(design):
    baseline = TrainConfig().override({"model.dropout": 0.3, "loss.smoothing": 0.05})
    configs = [baseline.override(arm.overrides) for arm in design.expand()]
    assert len({config.fingerprint() for config in configs}) == len(configs)


@EVERY_DESIGN
def test_a_design_goes_through_json_inside_a_study(design):
    study = small_study()
    tree = study.model_dump(mode="json") | {
        "ablation": Ablation(design=design).model_dump(mode="json")
    }
    again = Study.parse(json.loads(json.dumps(tree)), source="test")
    assert again.ablation.design == design
    assert again.ablation.design.expand() == design.expand()
    assert again.ablation.design.questions() == design.questions()


@EVERY_DESIGN
def test_questions_are_about_the_arms_and_start_from_the_reference(design):
    arms, questions = [arm.name for arm in design.expand()], design.questions()
    assert len({(question.family, question.name) for question in questions}) == len(questions) > 0
    for question in questions:
        assert question.family
        assert set(question.weights) <= set(arms)
        assert sum(question.weights.values()) == pytest.approx(0)
        assert bool(question.against) == (question.kind in ("delta", "step"))
        assert question.kind not in ("delta", "step") or question.weights[question.against] == -1
    first = [question for question in questions if question.family == questions[0].family]
    if design.name != "fractional":
        assert {question.against for question in first} == {arms[0]}
        compared = {question.name for question in questions if question.kind == "delta"}
        assert compared >= set(arms) - {arms[0], questions[-1].against}


def world(design, interactions: float = 0.03) -> tuple[dict, dict, pd.DataFrame]:
    """(effect of each factor, interaction of each pair, noiseless scores of 3 replicates) of a
    world of known effects.
    """
    factors = design.factors()
    alone = {factor: 0.01 * (i + 1) * (-1) ** i for i, factor in enumerate(factors)}
    together = {
        pair: interactions * (i + 1)
        for i, pair in enumerate(itertools.combinations(factors, 2))
        if not any({*pair} <= {*levels} for levels in design.crossing().values())
    }

    def acc(levels: dict) -> float:
        return (
            0.5
            + sum(alone[f] for f in factors if levels[f])
            + sum(together[a, b] for a, b in together if levels[a] and levels[b])
        )

    columns = {arm.name: acc(arm.levels) for arm in design.expand()}
    return alone, together, pd.DataFrame([columns] * 3) + np.array([[0.0], [0.01], [-0.01]])


def often(design, factor: str) -> float:
    """In which share of the cells a factor is on, or has this level."""
    sizes = [len(levels) for levels in design.crossing().values() if factor in levels]
    return 1 / next(iter(sizes), 2)


@pytest.mark.parametrize(
    "design", [design for found in EXAMPLES.values() for design in found if design.factors()]
)
def test_planted_effects_come_out_exactly(design):
    alone, together, scores = world(design)
    levels = levels_of(design)
    truth = scores.iloc[0].to_dict()
    for contrast in answer(scores, design.questions(), 0.01):
        others = [pair for pair in together if contrast.name in pair]
        if contrast.kind == "delta":
            want = truth[contrast.name] - truth[contrast.against]
        elif contrast.kind == "step":
            factor = contrast.name.removeprefix("adding ")
            before = [f for f, on in levels[contrast.against].items() if on]
            want = alone[factor] + sum(
                together[pair]
                for pair in together
                if {*pair} - {factor} <= {*before} and factor in pair
            )
        elif contrast.kind == "interaction":
            want = together[tuple(contrast.name.split(" × "))]
        else:  # half of each interaction, in a mean over the other off and on as in a fair share
            want = alone[contrast.name] + sum(
                together[pair] * often(design, *({*pair} - {contrast.name})) for pair in others
            )
            # what a fraction of the factorial holds beside it
            want += sum(
                a.share * together[tuple(a.interaction.split(" × "))] / 2 for a in contrast.aliases
            )
        assert contrast.delta == pytest.approx(want, abs=1e-12), (contrast.kind, contrast.name)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_levels_two_each_ask_what_a_factorial_asks_bit_for_bit(count):
    factors = some(count)
    levels = {
        f"with or without {name}": {f"no {name}": {}, name: factors[name]} for name in factors
    }
    one, other = Factorial(on=factors), Crossed(levels=levels)
    assert other.expand() == one.expand()
    assert other.questions() == one.questions()
    scores = pd.DataFrame(
        np.random.default_rng(3).normal(0.6, 0.1, (5, 2**count)), columns=list(levels_of(one))
    )
    assert answer(scores, other.questions(), 0.01) == answer(scores, one.questions(), 0.01)


def test_four_factors_of_two_levels_ask_the_same_of_arms_called_otherwise():
    levels = {f"{name}?": {f"no {name}": {}, name: FACTORS[name]} for name in some(4)}
    one, other = Factorial(on=some(4)), Crossed(levels=levels)
    assert [arm.levels for arm in other.expand()] == [arm.levels for arm in one.expand()]
    assert other.expand()[-1].name == "dropout + augmentation + ResNet + SGD"
    for a, b in zip(one.questions(), other.questions(), strict=True):
        assert (a.kind, a.family, [*a.weights.values()]) == (
            b.kind,
            b.family,
            [*b.weights.values()],
        )


def test_effects_of_levels_are_means_of_differences_within_the_cells_of_the_others():
    """Reckoned from the table of cells, not from weights."""
    design = crossed("network", "augmentation", "steps")
    scores = pd.DataFrame(
        np.random.default_rng(5).normal(0.6, 0.1, (4, 18)), columns=list(levels_of(design))
    )
    shapes = [tuple(levels) for levels in LEVELS.values()]
    cells = np.empty((3, 3, 2, 4))
    for place in itertools.product(range(3), range(3), range(2)):
        moved = [shapes[i][at] for i, at in enumerate(place) if at]
        cells[place] = scores[" + ".join(moved) or "baseline"]
    found = {(c.kind, c.name): c for c in answer(scores, design.questions(), 0.01)}
    counts = [sum(kind == one for kind, _ in found) for one in ("delta", "main", "interaction")]
    assert counts == [17, 5, 8]
    assert len(found) == sum(counts), "no Shapley shares of more than two levels"
    for axis, levels in enumerate(shapes):
        others = np.moveaxis(cells, axis, 0)
        for number, level in enumerate(levels[1:], 1):
            values = (others[number] - others[0]).mean(axis=(0, 1))
            assert found["main", level].values == pytest.approx(values)
    for i, j in itertools.combinations(range(3), 2):
        rest = np.moveaxis(cells, (i, j), (0, 1)).mean(axis=2)
        for a, b in itertools.product(range(1, len(shapes[i])), range(1, len(shapes[j]))):
            values = rest[a, b] - rest[a, 0] - rest[0, b] + rest[0, 0]
            contrast = found["interaction", f"{shapes[i][a]} × {shapes[j][b]}"]
            assert contrast.values == pytest.approx(values)


def test_a_base_may_take_from_the_baseline_and_a_level_may_be_it():
    arms = {arm.name: arm.overrides for arm in crossed("augmentation", "steps").expand()}
    assert arms["baseline"] == {"augment.mixup": 0.1}
    assert arms["mild"] == {}
    assert arms["strong + SGD"] == {**FACTORS["mixup"], **FACTORS["SGD"]}
    assert list(arms) == ["baseline", "mild", "strong", "SGD", "mild + SGD", "strong + SGD"]


def test_a_single_factor_of_levels_asks_for_differences_alone():
    design = crossed("network", reference="plain")
    assert [(q.kind, q.name, q.against) for q in design.questions()] == [
        ("delta", "ResNet", "plain"),
        ("delta", "wide", "plain"),
    ]


@pytest.mark.parametrize("count", [3, 4])
def test_shapley_shares_sum_to_the_total_gain(count):
    design = Factorial(on=some(count))
    scores = pd.DataFrame(
        np.random.default_rng(0).normal(0.6, 0.1, (5, 2**count)), columns=list(levels_of(design))
    )
    shares = by_family(answer(scores, design.questions(), 0.01))[SHAPLEY]
    gains = scores.iloc[:, -1] - scores.iloc[:, 0]
    assert sum(share.delta for share in shares) == pytest.approx(gains.mean())
    assert np.sum([share.values for share in shares], axis=0) == pytest.approx(gains.to_numpy())


def test_a_shapley_share_is_the_mean_gain_over_all_orders():
    design = Factorial(on=some(3))
    scores = pd.DataFrame(
        [np.random.default_rng(1).normal(0.6, 0.1, 8)] * 3, columns=list(levels_of(design))
    )
    value = {
        frozenset(f for f, on in levels.items() if on): scores[arm][0]
        for arm, levels in levels_of(design).items()
    }
    for share in by_family(answer(scores, design.questions(), 0.01))[SHAPLEY]:
        orders = list(itertools.permutations(design.factors()))
        before = [frozenset(order[: order.index(share.name)]) for order in orders]
        assert share.delta == pytest.approx(
            np.mean([value[b | {share.name}] - value[b] for b in before])
        )


def test_what_is_left_of_a_baseline_that_lost_every_factor_is_not_called_the_baseline():
    off = {"dropout": {"model.dropout": 0.0}, "mixup": {"augment.mixup": 0.0}}
    assert LeaveOneOut(off=off, with_none=True).expand()[-1].name == "none"
    assert LeaveOneOut(off=off, with_none=True, reference="plain").expand()[-1].name == "plain"
    assert Factorial(on=off).expand()[0].name == "baseline"


def test_arms_stay_as_given():
    design = Arms(arms={"b": {"epochs": 2}, "a": {}})
    assert [(arm.name, dict(arm.overrides)) for arm in design.expand()] == [
        ("b", {"epochs": 2}),
        ("a", {}),
    ]


def test_arms_are_measured_against_the_arm_that_is_named():
    arms = {"64": {}, "same": {"batch_size": 256}, "rule": {"batch_size": 256, "epochs": 2}}
    design = Arms(arms=arms, against={"rule": "same"})
    asked = {(q.name, q.against): dict(q.weights) for q in design.questions()}
    assert asked == {
        ("same", "64"): {"same": 1.0, "64": -1.0},
        ("rule", "same"): {"rule": 1.0, "same": -1.0},
    }
    assert Arms.model_validate({"arms": arms}) == Arms(arms=arms), "as earlier records have it"
    bad = ({"64": "same"}, {"rule": "rule"}, {"rule": "ruel"}, {"ruel": "same"})
    for against in bad:
        with pytest.raises(ValidationError, match=r"against: '\w+' (is none of|cannot be)"):
            Arms(arms=arms, against=against)


def test_names_alone_change_no_plan_and_other_pairs_do():
    few = dict(itertools.islice(FACTORS.items(), 3))
    named, short = (LeaveOneOut(off=few, by_lack=by_lack) for by_lack in (False, True))
    assert [arm.name for arm in short.expand()][:2] == ["all 3", "without dropout"]
    assert [arm.name for arm in named.expand()][1] == "augmentation + ResNet"
    assert list(_redesigned(named, short)) == []
    arms = {"plain": {}, **few}
    pairs = _redesigned(Arms(arms=arms), Arms(arms=arms, against={"ResNet": "dropout"}))
    assert [text.split(" was")[0] for text in pairs] == ["what the arms are measured against"]
    (text,) = _redesigned(named, LeaveOneOut(off=few, with_none=True))
    assert text.startswith("the arms were changed")


def test_arms_that_are_all_combinations_are_a_factorial():
    design = Arms(arms=SQUARE)
    assert design.factors() == ("A", "B")
    assert [tuple(arm.levels.values()) for arm in design.expand()] == [
        (False, False),
        (True, False),
        (True, True),
        (False, True),
    ]
    assert {question.family for question in design.questions()} == {
        "differences from plain",
        EFFECTS,
    }
    cube = Factorial(on=some(3))
    named = Arms(arms={arm.name: dict(arm.overrides) for arm in cube.expand()})
    assert named.expand() == cube.expand()
    assert named.questions() == cube.questions()


@pytest.mark.parametrize(
    "change",
    [
        {"A and B": {"batch_size": 8}},
        {"A and B": FACTORS["mixup"]},
        {"plain": {"epochs": 2}},
        {"B": {"model.dropout": 0.5}},
    ],
)
def test_arms_that_are_not_all_combinations_have_no_factors(change):
    design = Arms(arms={**SQUARE, **change})
    assert design.factors() == ()
    assert {question.kind for question in design.questions()} == {"delta"}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_factorial_is_complete(count):
    factors = some(count)
    arms = Factorial(reference="none", on=factors).expand()
    assert {tuple(arm.levels.values()) for arm in arms} == set(
        itertools.product((False, True), repeat=count)
    )
    assert arms[0].name == "none"
    assert not arms[0].overrides
    sizes = [sum(arm.levels.values()) for arm in arms]
    assert sizes == sorted(sizes)
    for arm in arms:
        on = [factor for factor in factors if arm.levels[factor]]
        assert dict(arm.overrides) == {
            path: value for factor in on for path, value in factors[factor].items()
        }
    if count <= 3:
        assert all(
            arm.name == (" + ".join(f for f in factors if arm.levels[f]) or "none") for arm in arms
        )


def test_a_baseline_that_has_the_factors_is_left_alone_where_all_are_on():
    (full, *without, none) = LeaveOneOut(
        off={**OFF, "mixup": {"augment.mixup": 0.0}, "x": {"y": 1}}, with_none=True
    ).expand()
    assert (full.name, dict(full.overrides)) == ("all 4", {})
    assert [arm.name for arm in without] == [
        f"without {factor}" for factor in ("smoothing", "dropout", "mixup", "x")
    ]
    assert without[1].overrides == {"model.dropout": 0.0}
    assert none.overrides == {
        "loss.smoothing": 0.0,
        "model.dropout": 0.0,
        "augment.mixup": 0.0,
        "y": 1,
    }


@pytest.mark.parametrize(
    "kind",
    [d for d in DESIGNS if issubclass(d, Factors)],
    ids=lambda d: d.model_fields["name"].default,
)
def test_one_configuration_has_one_name_in_every_design(kind):
    count = 5 if kind is not Factorial else 4
    known = {tuple(arm.levels.values()): arm for arm in Both(on=some(count)).expand()}
    arms = kind(on=some(count)).expand()
    shared = [arm for arm in arms if tuple(arm.levels.values()) in known]
    assert len(shared) >= 1
    assert all(known[tuple(arm.levels.values())] == arm for arm in shared)


def test_both_is_add_one_in_and_leave_one_out_with_shared_ends_once():
    factors = some(4)
    names = [arm.name for arm in Both(on=factors).expand()]
    parts = [
        arm.name
        for design in (AddOneIn(on=factors), LeaveOneOut(on=factors))
        for arm in design.expand()
    ]
    assert len(names) == 10
    assert set(names) == set(parts)
    assert (names[0], names[-1]) == ("baseline", "all 4")
    families = {question.name: question.against for question in Both(on=factors).questions()}
    assert families == {f: "baseline" for f in (*factors, "all 4")} | {
        f"without {f}": "all 4" for f in factors
    }
    assert len(Both(on=some(2)).expand()) == 4
    assert {q.kind for q in Both(on=some(2)).questions()} == {"delta", "main", "interaction"}


def test_auto_goes_by_the_number_of_factors():
    for count, design in ((1, Factorial), (2, Factorial), (3, Factorial), (4, Both), (5, Both)):
        chosen = Auto(reference="none", on=some(count)).chosen()
        assert type(chosen) is design
        assert Auto(reference="none", on=some(count)).expand() == chosen.expand()
        assert Auto(reference="none", on=some(count)).questions() == chosen.questions()


def test_of_a_ladder_the_later_step_counts():
    ladder = Ladder(
        on={
            "slow": {"optimizer.lr": 1e-3},
            "deep": FACTORS["ResNet"],
            "slower": {"optimizer.lr": 1e-4},
        }
    )
    assert [arm.overrides.get("optimizer.lr") for arm in ladder.expand()] == [
        None,
        1e-3,
        1e-3,
        1e-4,
    ]
    assert [q.name for q in ladder.questions() if q.family == STEPS] == [
        "adding slow",
        "adding deep",
        "adding slower",
    ]


def test_a_path_ends_at_the_given_configuration():
    arms = OrderedPath(steps=STEPPED).expand()
    assert [arm.name for arm in arms] == [
        "baseline",
        "up to sgd",
        "up to dropout=0.2",
        "up to lr=0.1",
    ]
    assert arms[-1].overrides == {
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "model.dropout": 0.2,
    }
    assert [sum(arm.levels.values()) for arm in arms] == [0, 1, 2, 3]


def test_steps_that_are_alike_in_short_are_named_in_full():
    assert OrderedPath(steps=({"ema": 0.9}, {"model.ema": 0.9})).factors() == (
        "ema=0.9",
        "model.ema=0.9",
    )


SIZES = {  # the standard tables (Box, Hunter & Hunter, table 12.15): factors → arms
    "III": {3: 4, 4: 8, 5: 8, 6: 8, 7: 8, 8: 16, 11: 16, 15: 16},
    "IV": {4: 8, 5: 16, 6: 16, 8: 16, 9: 32, 15: 32},
    "V": {5: 16, 6: 32, 7: 64, 8: 64},
    "plackett_burman": {5: 8, 8: 12, 11: 12, 13: 16},
}


def fraction(count: int, resolution: str) -> Fractional:
    return Fractional(on={f"f{i}": {f"p{i}": 1} for i in range(count)}, resolution=resolution)


@pytest.mark.parametrize(
    ("resolution", "count"), [(r, k) for r, sizes in SIZES.items() for k in sizes]
)
def test_a_fraction_has_its_resolution_in_the_fewest_arms(resolution, count):
    design = fraction(count, resolution)
    signs = np.array([[1 if on else -1 for on in arm.levels.values()] for arm in design.expand()])
    assert len(signs) == SIZES[resolution][count]
    assert (signs[0] == -1).all()
    assert len(np.unique(signs, axis=0)) == len(signs)
    words = {"III": 3, "IV": 4, "V": 5, "plackett_burman": 3}[resolution]
    for length in range(
        1, words
    ):  # no product of fewer columns than the shortest word is anything but balanced
        for chosen in itertools.combinations(range(count), length):
            assert signs[:, chosen].prod(axis=1).sum() == 0
    assert bool(design.aliases()) == (words == 3)


def test_the_alias_table_of_a_resolution_three_design():
    """The half fraction of three factors with the all-off arm: each main effect is minus the
    others' interaction.
    """
    design = fraction(3, "III")
    assert [arm.name for arm in design.expand()] == ["baseline", "f1 + f2", "f0 + f2", "f0 + f1"]
    assert design.aliases() == (
        Alias("f0", "f1 × f2", -1.0),
        Alias("f1", "f0 × f2", -1.0),
        Alias("f2", "f0 × f1", -1.0),
    )
    assert [question.aliases for question in design.questions()] == [
        (alias,) for alias in design.aliases()
    ]
    # the saturated 2^(7-4): 7 words of three letters, so every main effect has three aliases
    saturated = fraction(7, "III").aliases()
    assert len(saturated) == 21
    assert {abs(alias.share) for alias in saturated} == {1.0}


def test_a_plackett_burman_design_spreads_every_interaction_over_the_main_effects_outside_it():
    found = fraction(11, "plackett_burman").aliases()
    assert len(found) == 11 * math.comb(10, 2) == 11 * special.comb(10, 2)
    assert {round(abs(alias.share), 12) for alias in found} == {round(1 / 3, 12)}


@pytest.mark.parametrize("resolution", SIZES)
def test_a_fraction_never_asks_for_interactions(resolution):
    questions = fraction(6, resolution).questions()
    assert [(question.name, question.kind, question.family) for question in questions] == [
        (f"f{i}", "main", SCREEN) for i in range(6)
    ]


@pytest.mark.parametrize(
    ("design", "fields", "words"),
    [
        (Arms, {"arms": {"only": {}}}, "at least 2"),
        (Factorial, {"on": {}}, "at least 1"),
        (Factorial, {"on": {str(i): {f"k{i}": 1} for i in range(5)}}, "at most 4"),
        (AddOneIn, {"on": {str(i): {f"k{i}": 1} for i in range(21)}}, "at most 20"),
        (Factorial, {"on": {"baseline": {"epochs": 2}}}, "may not be called 'baseline'"),
        (
            Factorial,
            {"on": {"a": {"x": 1, "y": 1}, "b": {"y": 2}}},
            r"'a' and 'b' both set \['y'\]",
        ),
        (Both, {"on": {"a": {"x": 1}}, "off": {"b": {"x": 2}}}, r"'a' and 'b' both set \['x'\]"),
        (
            AddOneIn,
            {"on": {"a": {"optimizer": {}}, "b": {"optimizer.lr": 2}}},
            r"'a' and 'b' both set \['optimizer.lr'\]",
        ),
        (
            Ladder,
            {"on": {"a": {"optimizer.lr": 1}, "b": {"optimizer": {}}}},
            r"'a' and 'b' both set \['optimizer.lr'\]",
        ),
        (Ladder, {"on": {"a": {"x": 1}}, "off": {"b": {"x": 2}}}, r"'a' and 'b' both set \['x'\]"),
        (
            Factorial,
            {"on": {"a": {"x": 1}, "b": {"y": 1}, "a + b": {"z": 1}}},
            "two arms are called 'a \\+ b'",
        ),
        (
            Factorial,
            {"reference": "a + b", "on": {"a": {"x": 1}, "b": {"y": 1}}},
            "two arms are called 'a \\+ b'",
        ),
        (
            Both,
            {"on": {x: {x: 1} for x in ("a", "b", "c", "all 4")}},
            "two arms are called 'all 4'",
        ),
        (Factorial, {"on": {"": {"x": 1}}}, "at least 1 character"),
        (Arms, {"arms": {"": {}, "b": {"epochs": 1}}}, "at least 1 character"),
        (OrderedPath, {"steps": ()}, "at least 1"),
        (OrderedPath, {"steps": ({"x": 1}, {})}, "must change something"),
        (OrderedPath, {"steps": ({"x": 1}, {"y": 1}, {"x": 1})}, "two steps are the same"),
        (OrderedPath, {"steps": ({"o": {"lr": 1}}, {"o.lr": 1})}, "both set"),
        (Crossed, {"levels": {}}, "at least 1"),
        (Crossed, {"levels": {"norm": {"none": {}}}}, "'norm' has 1, and a factor has at least 2"),
        (
            Crossed,
            {"levels": {f: {f + str(i): {f: i} for i in range(3)} for f in "abc"}},
            "3x3x3 are 27 arms, at most 24",
        ),
        (
            Crossed,
            {"levels": {"a": {"none": {}, "x": {"x": 1}}, "b": {"none": {}, "y": {"y": 1}}}},
            "'a' and 'b' both have a level 'none'",
        ),
        (
            Crossed,
            {"levels": {"a": {"none": {}, "baseline": {"x": 1}}}},
            "no level but the first of a factor may be called 'baseline'",
        ),
        (
            Crossed,
            {"levels": {"a": {"p": {}, "x": {"o": {}}}, "b": {"q": {}, "y": {"o.lr": 1}}}},
            r"'a' and 'b' both set \['o.lr'\]",
        ),
        (
            Crossed,
            {
                "levels": {
                    "a": {"p": {}, "x": {"x": 1}, "x + y": {"x": 2}},
                    "b": {"q": {}, "y": {"y": 1}},
                }
            },
            r"two arms are called 'x \+ y'",
        ),
        (
            Crossed,
            {
                "levels": {
                    "a": {"p": {}, "x": {"x": 1}, "x × y": {"x": 2}},
                    "b": {"q": {}, "z": {"y": 1}, "y × z": {"y": 2}},
                }
            },
            "levels: two effects are called 'x × y × z': name the levels otherwise",
        ),
        (
            Factorial,
            {"on": {"a": {"x": 1}, "b": {"y": 1}, "a × b": {"z": 1}}},
            "factors: two effects are called 'a × b': name the factors otherwise",
        ),
        (
            Factorial,
            {"on": {"a": {"x": 1}, "b × c": {"y": 1}, "a × b": {"z": 1}, "c": {"o": 1}}},
            "two effects are called 'a × b × c'",
        ),
        (Fractional, {"on": {"a": {"x": 1}, "b": {"y": 1}}}, "at least 3"),
        (
            Fractional,
            {"on": {c: {c: 1} for c in "abc"}, "resolution": "IV"},
            "no fraction of this resolution",
        ),
        (
            Fractional,
            {"on": {c: {c: 1} for c in "abcdefghi"}, "resolution": "V"},
            "take a lower one",
        ),
        (Fractional, {"on": {c: {c: 1} for c in "abcde"}, "resolution": "VI"}, "plackett_burman"),
    ],
)
def test_an_undefined_design_is_refused(design, fields, words):
    with pytest.raises(ValidationError, match=words):
        design(**fields)
