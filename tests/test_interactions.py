"""What is said of two factors together never contradicts the numbers, whatever their signs."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis.wording import Points
from pipeline.report.compose import read, texts
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translator import Translator
from pipeline.report.sections.interactions import Pair
from pipeline.study.designs import Factorial
from tests.records import Scribe, make_study

SHOWN = Points(1)
LEVELS = (-0.15, -0.06, -0.02, 0.0, 0.02, 0.06, 0.15)


def pairs() -> list[Pair]:
    """Every case of signs and sizes on a grid, and random ones."""
    rng = np.random.default_rng(1)
    grid = [
        Pair("A", "B", (a, b), t)
        for a, b, t in itertools.product(LEVELS, repeat=3)
        if abs(t - a - b) > 1e-9
    ]
    return grid + [
        Pair("A", "B", (float(a), float(b)), float(t)) for a, b, t in rng.normal(0, 0.1, (2000, 3))
    ]


def numbers(text: str) -> list[float]:
    return [float(found.replace("−", "-")) / 100 for found in re.findall(r"[+−]?\d+\.\d+", text)]


def truths(pair: Pair) -> dict[str, bool]:
    """What each phrase claims, read from the numbers alone."""
    a, b = pair.alone
    a_beside, b_beside, extra = pair.together - b, pair.together - a, pair.together - a - b
    gains, harms = a > 0 and b > 0, a < 0 and b < 0
    return {
        "the two gains reinforce": gains and pair.together > a + b,
        "the two gains overlap": gains and 0 < pair.together < a + b,
        "and less than": gains and pair.together < max(a, b),
        "each helps alone, together they harm": gains and pair.together < 0,
        "the two harms reinforce": harms and pair.together < a + b,
        "the two harms overlap": harms and a + b < pair.together < 0,
        "each harms alone, together they help": harms and pair.together > 0,
        "A harms alone and helps beside B": a < 0 < b and a_beside > 0,
        "B harms alone and helps beside A": b < 0 < a and b_beside > 0,
        "A softens the harm of B": b < 0 < a and b < b_beside <= 1e-12,
        "B softens the harm of A": a < 0 < b and a < a_beside <= 1e-12,
        "A helps alone and harms beside B": b < 0 < a and a_beside < 0,
        "B helps alone and harms beside A": a < 0 < b and b_beside < 0,
        "A takes from the gain of B": a < 0 < b and -1e-12 <= b_beside < b,
        "B takes from the gain of A": b < 0 < a and -1e-12 <= a_beside < a,
        " above ": extra > 0,
        " below ": extra < 0,
        " more than ": extra > 0,
        " worse than ": extra < 0,
    }


def test_words_follow_the_signs() -> None:
    met = set()
    for pair in pairs():
        text = pair.phrase(SHOWN)
        claims = [claim for claim in truths(pair) if claim in text]
        met |= set(claims)
        assert all(truths(pair)[claim] for claim in claims), (pair, text)
        assert claims, (pair, text)
        together, beyond, total = numbers(text)[:3]
        for number, true in (
            (together, pair.together),
            (beyond, abs(pair.extra)),
            (total, sum(pair.alone)),
        ):
            assert number == pytest.approx(true, abs=0.00051)
            assert number != 0 or abs(true) < 1e-12
        for word in ("gains", "helps", "help", "give"):
            if re.search(rf"\b{word}\b", text):
                assert max(*pair.alone, pair.together) > 0, text
        for word in ("harms", "harm", "cost"):
            if re.search(rf"\b{word}\b", text):
                assert (
                    min(
                        *pair.alone,
                        pair.together,
                        pair.together - pair.alone[0],
                        pair.together - pair.alone[1],
                    )
                    < 0
                ), text
    assert met == set(truths(pairs()[0]))


def test_simple_effects_are_told_by_their_signs() -> None:
    for pair in pairs():
        a, b = pair.alone
        for text, alone, beside in zip(
            pair.simple(SHOWN).split("; "),
            (a, b),
            (pair.together - b, pair.together - a),
            strict=True,
        ):
            verbs = re.findall("costs|gives", text)
            signs = [-1 if verb == "costs" else 1 for verb in (verbs * 2)[:2]]
            told = [sign * size for sign, size in zip(signs, numbers(text), strict=True)]
            assert told == pytest.approx([alone, beside], abs=0.00051), text
            assert all(shown * true >= 0 for shown, true in zip(told, (alone, beside), strict=True))
        of_levels = replace(pair, bases=("P", "Q")).simple(SHOWN)
        a_first, b_first = of_levels.split("; ")
        assert re.fullmatch(r"A \w+ \S+ with Q and (\w+ )?\S+ with B", a_first)
        assert re.fullmatch(r"B \w+ \S+ with P and (\w+ )?\S+ with A", b_first)
        assert numbers(of_levels) == numbers(pair.simple(SHOWN))


def test_every_case_is_said_in_chinese() -> None:
    say = Translator(catalogue("zh"))
    for pair, bases, sign in itertools.product(pairs(), (("", ""), ("P", "Q")), (1, -1)):
        one = replace(pair, bases=bases, sign=sign)
        said = say.phrase("together", one.phrase(SHOWN)) + "".join(
            say.phrase("simple", text) for text in one.simple(SHOWN).split("; ")
        )
        assert not re.search("[a-z]{2}", said), said
        assert ("加重" in said) == ("harms reinforce" in pair.phrase(SHOWN))
    assert not say.missed


def reported(folder: Path, levels: dict[str, float], spread: float = 0.004) -> dict[str, str]:
    """The report of a 2x2 whose arms have these accuracies, English and Chinese."""
    book = Scribe(folder / "study", make_study(num_trials=0))
    book.session()
    for replicate in range(1, 6):
        for arm, acc in levels.items():
            book.arm(arm, replicate, acc + float(book.rng.normal(0, spread)))
    findings = read(book.record())
    return {"md": texts(findings, {})["report.md"], "zh": texts(findings, {}, "zh")["report.md"]}


def test_two_harms_that_overlap_are_no_synergy(tmp_path: Path) -> None:
    """As in a real 2x2: ResNet -18.6, augmentation -6.4, both -14.8, so an interaction of +10.2."""
    levels = {
        "baseline": 0.557,
        "ResNet": 0.371,
        "augmentation": 0.493,
        "ResNet + augmentation": 0.409,
    }
    found = reported(tmp_path, levels)
    line = next(
        line for line in found["md"].splitlines() if line.startswith("- ResNet × augmentation")
    )
    assert "ResNet × augmentation: the two harms overlap: together −14." in line
    assert re.search(
        r"1\d\.\d+ less than the −2[45]\.\d+ they cost one by one \(interaction \+1\d\.", line
    )
    assert "Simple effects, as estimated: " in line
    assert re.search(r"ResNet costs 18\.\d+ without augmentation and 8\.\d+ with it", line)
    assert re.search(r"augmentation costs 6\.\d+ without ResNet and gives [34]\.\d+ with it", line)
    assert "positive" in line
    assert "give more" not in found["md"]
    assert re.search(r"两项损失有重叠：合用 −14\.\d+，比逐个损失之和 −2[45]\.\d+ 轻", found["zh"])


def test_an_effect_that_was_not_found_is_an_estimate(tmp_path: Path) -> None:
    levels = {
        "baseline": 0.5,
        "ResNet": 0.5005,
        "augmentation": 0.56,
        "ResNet + augmentation": 0.62,
    }
    line = next(
        line
        for line in reported(tmp_path, levels)["md"].splitlines()
        if line.startswith("- ResNet × augmentation")
    )
    assert "by the estimates, " in line


def test_main_effects_are_positive_or_negative_and_arms_better_or_worse(tmp_path: Path) -> None:
    assert isinstance(make_study().ablation.design, Factorial)
    levels = {"baseline": 0.5, "ResNet": 0.6, "augmentation": 0.45, "ResNet + augmentation": 0.55}
    found = reported(tmp_path, levels)["md"]
    effects = found.split("Main effects and interactions of the factorial", 1)[1].split("\n\n")[1]
    assert "positive" in effects
    assert "negative" in effects
    assert not re.search("better|worse", effects)
    differences = found.split("Ablation: 4 arms", 1)[1].split("\n\n")[1]
    assert "better" in differences
    assert "worse" in differences
