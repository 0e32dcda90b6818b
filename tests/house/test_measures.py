"""The house stays tidy: what `docs/house.py` counts stays under a ceiling, which is only ever lowered."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest

from tests.house.documents import ROOT

CEILINGS = {
    "file names that occur twice (but for the mirrors)": (0, "Name the newer file by what is in it."),
    "class names that occur twice (but for the mirrors)": (0, "Name the newer class by what it is."),
    "files over 250 lines": (14, "Split the longest by subject, where it has two; `wc -l` finds it."),
    "functions over 60 lines": (0, "Give a part of it a name of its own."),
    "`told` bound as an identifier": (0, "Say what was told: `python docs/house.py --words` lists the places."),
    "bare participles bound as identifiers": (
        11, "A value is a noun and a function a verb: `python docs/house.py --words` lists the places; rename yours."
    ),
}  # fmt: skip
"""Of a row of the table: the most there may be, and what to do where there are more."""


@cache
def measured(root: Path) -> dict[str, int]:
    """The table of a checkout."""
    spec = importlib.util.spec_from_file_location("house", ROOT / "docs" / "house.py")
    assert spec
    assert spec.loader
    house = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house)
    table: dict[str, int] = house.measures(root)
    return table


@pytest.mark.parametrize("row", CEILINGS)
def test_no_row_of_the_table_is_over_its_ceiling(row: str) -> None:
    most, advice = CEILINGS[row]
    found = measured(ROOT)[row]
    assert found <= most, f"{row}: {found}, expected {most} at most. {advice}"


def test_the_table_counts_what_it_says(tmp_path: Path) -> None:
    for name in ("client", "server", "common", "simulation"):
        (tmp_path / name).mkdir()
    (tmp_path / "simulate.py").write_text("known = 1\n")
    (tmp_path / "client" / "a.py").write_text("left, right = 1, 2\ndef long():\n" + "    told = 1\n" * 60)
    (tmp_path / "server" / "b.py").write_text("left = 1\nclass Home: ...\nclass A: ...\n" + "\n" * 250)
    (tmp_path / "common" / "b.py").write_text("class Home: ...\nclass A: ...\n")
    table = measured(tmp_path)
    assert [table[row] for row in CEILINGS] == [1, 1, 1, 1, 60, 62]
