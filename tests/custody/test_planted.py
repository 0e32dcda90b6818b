"""Of names planted wherever an image can hold one nothing is left in the store; the pixels are the same ones."""

import warnings

import pytest

from client.__main__ import main
from tests.custody.planted import people
from tests.custody.planted_search import changed, left, plant, remains

FILES = 40


@pytest.mark.parametrize("options", [[], ["--retain", "patient,device,dates", "--allow-burned-in"]])
def test_nobody_is_left_in_the_store_and_what_cannot_be_cleaned_is_named(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom, of what is planted
        planted = plant(tmp_path / "source", FILES, turns=10)
    main(["init", "lisbon"])
    main(["custody", "begin", str(tmp_path / "away.key")])
    capsys.readouterr()
    assert main(["import", str(tmp_path / "source"), "--name", "chest", "--processes", "1", *options]) == 1
    said = "".join(capsys.readouterr())
    assert not left(planted.values(), remains(tmp_path, "chest", said, planted))
    assert not changed(tmp_path, "chest", planted, said)
    assert "compressed images, encoded anew" in said
    assert "private elements" in said
    refused = [path for path in planted if f"left out  {path}: " in said]
    assert {path for path in planted if "pixels" in path.name} <= set(refused)
    assert len(refused) < FILES / 4


def test_the_search_finds_who_is_there():
    found = {codec: f"_{person.name}_".encode(codec) for person in people(14) for codec in (person.codec, "utf-16-le")}
    assert {where for where, _ in left(people(14), found)} == set(found)
