"""Several findings an image, as hospitals write them: nothing is taken for absent that nobody has said is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from client.dataset import loading, splits
from client.sources import file_list, findings, npz
from client.sources.case_table import Table
from common.config import Config, Folder, Manifest, Npz, Sites, Synthetic
from common.errors import ConfigError, DataError
from common.types import UNKNOWN
from tests.sources.small_images import write_images

NAMES = ("edema", "mass", "nodule")
FILES = [f"{letter}.png" for letter in "abcd"]
MULTI = {
    "name": "multi",
    "data": {"kind": "synthetic", "sites": 3, "cases": 40, "size": 16, "findings": ["opacity", "nodule"]},
    "sites": {"split": "natural"},
    "model": {"kind": "svm", "multilabel": True},
}


def read(folder, text, **settings):
    write_images(folder, FILES)
    (folder / "list.csv").write_text(text, encoding="utf-8")
    settings = {"findings": NAMES} | settings
    return file_list.read(Manifest(kind="manifest", path=folder / "list.csv", cache=folder / "cache", **settings))


def test_a_cell_a_finding_says_one_nought_or_nothing(tmp_path):
    table = read(tmp_path, "path,Edema,MASS,nodule,age\na.png,1,0,,5\nb.png,1.0,0.0,nan,6\nc.png,yes,no,not read,7\n",
                 unknown=("not read",))  # fmt: skip
    assert table.classes == NAMES
    np.testing.assert_array_equal(table.labels, [[1, 0, UNKNOWN]] * 3)


def test_a_finding_without_a_column_is_unknown_and_so_it_is_said(tmp_path):
    table = read(tmp_path, "path,edema,nodule\na.png,1,0\nb.png,0,1\nc.png,,\n")
    np.testing.assert_array_equal(table.labels, [[1, UNKNOWN, 0], [0, UNKNOWN, 1]])
    assert any("no column for mass" in text for text in table.unused)
    assert any("1 rows of list.csv in which no finding is known" in text for text in table.unused)


def test_a_list_of_those_present_says_that_the_others_are_absent(tmp_path):
    text = "path,label\na.png,mass|Edema\nb.png,No Finding\nc.png,nodule|Hernia\nd.png,\n"
    table = read(tmp_path, text, other_findings=("No Finding", "hernia"))
    np.testing.assert_array_equal(table.labels, [[1, 1, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(("rule", "value"), [("unknown", UNKNOWN), ("present", 1), ("absent", 0)])
def test_the_uncertain_counts_as_the_configuration_says(tmp_path, rule, value):
    table = read(tmp_path, "path,edema,mass,nodule\na.png,-1.0,1,0\nb.png,u,0,1\n", uncertain=rule)
    np.testing.assert_array_equal(table.labels, [[value, 1, 0], [value, 0, 1]])


@pytest.mark.parametrize(
    ("text", "settings", "what"),
    [
        ("path,edema,mass\na.png,-1,0\n", {}, "row 2: 'edema' is uncertain"),
        ("path,edema,mass\na.png,1,0\nb.png,2,0\n", {}, "row 3: 'edema' says '2'"),
        ("path,edema,mass\na.png,0.5,0\n", {}, "'edema' says '0.5'"),
        ("path,edema,masss\na.png,1,0\n", {}, "did you mean the finding 'mass'"),
        ("path,edema,Edema\na.png,1,0\n", {}, "'edema' is there twice"),
        ("path,label\na.png,mass|Hernia\n", {}, "row 2: 'Hernia' is none of data.findings"),
        ("path,age\na.png,5\n", {}, "no column 'label'"),
        ("path,edema,mass\n,1,0\n", {}, "the cell 'path' is empty"),
    ],
)
def test_what_says_nothing_clear_of_a_finding_is_refused_by_name_and_row(tmp_path, text, settings, what):
    with pytest.raises(DataError) as raised:
        read(tmp_path, text, **settings)
    assert what in str(raised.value)


@given(st.lists(st.tuples(*[st.sampled_from([0, 1, UNKNOWN])] * 3), min_size=1, max_size=9))
def test_findings_travel_as_a_word(rows):
    words = [findings.join(dict(zip(NAMES, row, strict=True))) for row in rows]
    np.testing.assert_array_equal(findings.matrix(words, NAMES), rows)


def test_a_class_is_no_word_of_findings():
    with pytest.raises(DataError, match=r"'ill' is a class"):
        findings.matrix(["edema=1", "ill"], NAMES)


def arrays(tmp_path, labels, **settings):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return npz.read(Npz(kind="npz", path=tmp_path / "data.npz", **({"findings": NAMES} | settings)))


def test_an_array_has_a_column_a_finding(tmp_path):
    table = arrays(tmp_path, np.array([[1.0, 0.0, np.nan], [0.0, -1.0, 1.0]]), uncertain="unknown")
    np.testing.assert_array_equal(table.labels, [[1, 0, UNKNOWN], [0, UNKNOWN, 1]])
    table = arrays(tmp_path, np.array([[1, 0, 9], [0, 1, 1]], np.uint8), unknown=("9",))
    np.testing.assert_array_equal(table.labels, [[1, 0, UNKNOWN], [0, 1, 1]])


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (np.zeros((4, 2), int), "a column for each of the 3"),
        (np.zeros(4, int), "a column for each of the 3"),
        (np.array([[0, 1, 2]] * 2), "labels[0]: 'nodule' says '2'"),
        (np.array([[0, -1, 1]] * 2), "labels[0]: 'mass' is uncertain"),
        (np.array([[0.0, np.inf, 1.0]] * 2), "'mass' says 'inf'"),
    ],
)
def test_an_array_of_something_else_is_refused(tmp_path, labels, what):
    with pytest.raises(DataError) as raised:
        arrays(tmp_path, labels)
    assert what in str(raised.value)


def test_an_array_of_findings_that_nobody_named_is_refused_with_advice(tmp_path):
    with pytest.raises(DataError, match=r"name them in data\.findings"):
        arrays(tmp_path, np.zeros((4, 3), int), findings=())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": {"kind": "svm"}}, r"expected model\.multilabel: true"),
        ({"data": {"kind": "synthetic"}}, r"names of the findings in data\.findings"),
        ({"sites": {"split": "natural", "unlabelled": {"Osaka": ["mass"]}}}, r"'mass' is none of data\.findings"),
        ({"data": {"kind": "synthetic", "findings": ["opacity"]}}, "two names at least"),
        ({"data": {"kind": "synthetic", "findings": ["opacity", "opacity"]}}, "each once"),
        ({"data": {"kind": "synthetic", "findings": ["opacity", "fracture"]}}, "no phantom shows 'fracture'"),
        ({"data": {"kind": "synthetic", "findings": ["opacity", "nodule"], "labels": ["a", "b"]}}, "not both"),
    ],
)
def test_a_configuration_that_does_not_fit_together_is_refused(change, what):
    with pytest.raises(ValidationError, match=what):
        Config.model_validate(MULTI | change)


def test_a_folder_a_class_has_no_findings(tmp_path):
    with pytest.raises(ValidationError):
        Folder(kind="folder", path=tmp_path, findings=("a", "b"))


def test_a_simulation_takes_labels_away_at_the_sites_that_it_names_and_nowhere_else():
    config = Config.model_validate(MULTI | {"sites": {"split": "natural", "unlabelled": {"Osaka": ["nodule"]}}})
    data = loading.load(config, 1)
    for site in data.sites:
        for part in (site.train, site.validation, site.test):
            assert ((part.labels[:, 1] == UNKNOWN).all()) == (site.name == "Osaka")
            assert not (part.labels[:, 0] == UNKNOWN).any()
    assert any("nobody has looked for 'nodule' at Osaka" in finding.what for finding in data.warnings)
    with pytest.raises(ConfigError, match="there is no site 'Atlantis'"):
        loading.load(Config.model_validate(MULTI | {"sites": {"split": "natural", "unlabelled": {"Atlantis": []}}}), 1)


def test_a_finding_with_one_answer_is_refused_by_a_simulation(tmp_path):
    labels = np.tile([[0, 1, 1], [1, 0, 1]], (20, 1))
    arrays(tmp_path, labels)
    source = {"kind": "npz", "path": str(tmp_path / "data.npz"), "findings": list(NAMES)}
    config = Config.model_validate(MULTI | {"data": source, "sites": {"split": "iid", "count": 2}})
    with pytest.raises(DataError, match="No case without 'nodule'"):
        loading.load(config, 1)


@pytest.mark.parametrize("split", ["iid", "dirichlet", "size"])
def test_the_rarest_finding_of_a_person_decides_and_no_person_is_on_two_sides(split):
    rng = np.random.default_rng(3)
    labels = (rng.random((300, 3)) < [0.5, 0.3, 0.06]).astype(np.int64)
    patients = tuple(str(i // 2) for i in range(300))
    images = loading.open_table(Synthetic(kind="synthetic", sites=1, cases=300, size=16)).images
    table = Table(NAMES, labels, images, patient=patients)
    division = splits.divide(table, Sites(split=split, count=3, alpha=5.0, near_duplicates=False), 1)
    for person in range(150):
        assert len({(division.site[i], division.split[i]) for i in (2 * person, 2 * person + 1)}) == 1
    if split == "iid":
        rare = [[labels[(division.site == s) & (division.split == p), 2].sum() for p in range(3)] for s in range(3)]
        assert np.min(rare) >= 1
