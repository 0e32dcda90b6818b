"""Who is somebody, what belongs together where nobody is, and which names tell."""

import pytest
from pydantic import ValidationError

from client.sources import identity
from common.config import Folder, Manifest, Npz


@pytest.mark.parametrize(
    "word",
    [None, "", "-", "ANONYMOUS", "Anon", "anonymized^patient", "unknown", "Unknown Patient", "n/a", "NaN", "none",
     "XXXX", "de-identified", "removed", "No ID", "unbekannt", "Anonymisé", "no name given"],
)  # fmt: skip
def test_placeholders_are_nobody(word):
    assert not identity.is_somebody(word)


@pytest.mark.parametrize("word", ["P-17", "0017", "ANON0012", "Anonymous 3", "Meier", "x1", "患者12", "id7"])
def test_pseudonyms_and_numbers_are_somebody(word):
    assert identity.is_somebody(word)


def test_zero_is_somebody_only_where_people_are_numbered():
    assert identity.patients(["0", "0", "A7", "B9"]) == (None, None, "A7", "B9")
    assert identity.patients(["000", "001", "002"]) == ("000", "001", "002")


def test_one_number_for_all_is_nobody_and_one_for_some_is_somebody():
    assert identity.patients(["P-1", "P-1", "P-1"]) is None
    assert identity.patients(["P-1", "P-1", None]) == ("P-1", "P-1", None)
    assert identity.patients([None, "ANONYMOUS", "anon"]) is None


def test_the_widest_known_unit_holds_together():
    rows = [
        {"study": "1.1", "series": "1.1.1"},
        {"study": "1.1", "series": "1.1.2"},
        {"study": None, "series": "1.2"},
        {},
        {},
        {},
    ]
    files = ["a", "b", "c", "d", "d", "e"]
    assert identity.units(rows, files) == ("study 1.1", "study 1.1", "series 1.2", "file d", "file d", None)


def test_a_study_that_all_images_share_tells_nothing_apart():
    rows = [{"study": "1.1", "series": f"1.1.{i // 2}"} for i in range(4)]
    assert identity.units(rows, "abcd") == ("series 1.1.0", "series 1.1.0", "series 1.1.1", "series 1.1.1")


@pytest.mark.parametrize(
    ("name", "rule", "people"),
    [
        (lambda i: f"ill/patient{i // 3:03d}_slice{i % 3}.png", r"patient(\d+)", 16),
        (lambda i: f"ill/Pat-{i // 3}_{i % 3}.png", r"Pat\-(\d+)", 16),
        (lambda i: f"ill/2019_p{i // 3}_{i % 3}.png", r"_p(\d+)", 16),
        (lambda i: f"well/{i // 3:04d}/{i % 3}.png", r"/([^/]+)/[^/]+$", 16),
        (lambda i: f"well/IM-{i // 3:04d}-{i % 3:04d}.dcm", r"([^/]+)[ _-][^/ _-]+$", 16),
    ],
)
def test_names_that_tell_patients_suggest_a_rule(name, rule, people):
    names = [name(i) for i in range(48)]
    assert identity.suggestion(names, 2) == (rule, people)
    assert len({identity.by_rule(rule, name) for name in names}) == people


@pytest.mark.parametrize(
    "name",
    [
        lambda i: f"ill/{i}.png",
        lambda i: f"ill/patient{i}.png",
        lambda i: ["benign", "malignant"][i % 2] + f" ({i}).png",
        lambda i: f"ill/img_{i}.png",
        lambda i: f"ill/patient{i // 3}_{i}.png" if i else "ill/cover.png",
    ],
)
def test_names_that_tell_nobody_or_each_another_suggest_nothing(name):
    assert identity.suggestion([name(i) for i in range(48)], 2) is None


def test_a_rule_reads_what_its_groups_match():
    assert identity.by_rule(r"p(\d+)", "ill/p012_3.png") == "012"
    assert identity.by_rule(r"p\d+", "ill/p012_3.png") == "p012"
    assert identity.by_rule(r"(\w)/p(\d+)", "x/p1.png") == "x/1"
    assert identity.by_rule(r"q(\d+)", "ill/p012_3.png") is None


@pytest.mark.parametrize("kind", [Folder, Manifest])
def test_a_rule_that_is_none_is_refused(kind):
    with pytest.raises(ValidationError, match="not a regular expression"):
        kind(kind=kind.__name__.lower(), path="x", patients="p(")


def test_a_rule_of_an_array_needs_the_array():
    with pytest.raises(ValidationError, match="name the array as patient"):
        Npz(kind="npz", path="x", patients="p")
