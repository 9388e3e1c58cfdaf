"""Unions that are found in a package."""

import importlib
import sys
from pathlib import Path

import pytest

from pipeline.frozen import Frozen, members

BASE = """
from typing import Literal
from pipeline.frozen import Frozen

class Shape(Frozen):
    width: int = 1
"""
B = """
from shapes_{n}.base import Literal, Shape

class Round(Shape):
    pass

class Disc(Round):
    name: Literal["disc"] = "disc"

class Ball(Disc):
    name: Literal["ball"] = "ball"

class Other:
    name = "other"

twin = Disc
"""
A = """
from shapes_{n}.base import Literal, Shape
from shapes_{n}.round import Disc

class Square(Shape):
    name: Literal["square"] = "square"
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], n: int) -> str:
    home = folder / f"shapes_{n}"
    home.mkdir()
    for name, text in {"__init__": "", "base": BASE, **files}.items():
        (home / f"{name}.py").write_text(text.replace("{n}", str(n)))
    monkeypatch.syspath_prepend(folder)
    return home.name


def test_members_are_found_in_order_of_module_then_definition(tmp_path, monkeypatch):
    name = package(tmp_path, monkeypatch, {"round": B, "angular": A}, 1)
    base = importlib.import_module(f"{name}.base").Shape
    found = members(name, base)
    assert [member.__name__ for member in found] == ["Square", "Disc", "Ball"]
    assert found == members(name, base)
    assert found[1] is sys.modules[f"{name}.round"].Disc
    assert members(name, importlib.import_module(f"{name}.round").Round) == found[1:]


def test_a_name_stands_for_one_member(tmp_path, monkeypatch):
    name = package(tmp_path, monkeypatch, {"round": B, "angular": A.replace("square", "disc")}, 2)
    with pytest.raises(ValueError, match="both called 'disc'"):
        members(name, Frozen)
