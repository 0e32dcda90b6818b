"""A training begins from a package: the same bits at every site, or it is refused with words before it begins."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from client.__main__ import main as client
from common.algorithms.course import Course
from common.config import Config, from_tree
from common.errors import ConfigError, PackageError
from common.models import build
from common.package import package_library
from common.plans.first_weights import first_weights
from simulation.seeds import simulate
from tests.package.shop import Made

SHAPE, LABELS = (32, 32, 1), ("clear", "disease")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(package_library.VARIABLE, str(tmp_path / "packages"))
    return tmp_path / "packages"


def beginning(made: Made, **changes: object) -> Config:
    return made.config.model_copy(update={"initial": made.shared.digest, **changes})


def test_both_models_begin_where_the_package_ended(made: Made, library: Path) -> None:
    package_library.add(made.shared, made.file)
    config = beginning(made)
    model = build(config.model_for(1), made.shared.content.shape, 2)
    first = first_weights(config, model, made.shared.content.labels)
    course = Course.of(config, model, 1, ("a", "b", "c"))
    begins = course.algorithm.weights(replace(course, initial=first).start().state)
    for name, w in made.shared.weights.items():
        np.testing.assert_array_equal(begins[name], w)


def test_the_secured_run_begins_there_and_the_svm_needs_fewer_rounds(made: Made, library: Path, tmp_path: Path) -> None:
    package_library.add(made.shared, made.file)
    result = simulate(beginning(made), tmp_path / "run", Console(quiet=True))
    fresh = json.loads((made.run / "result.json").read_text())["rounds"]
    if made.config.model.kind == "svm":
        assert len(result["rounds"]) < len(fresh)
    else:
        assert result["rounds"][0]["train_loss"] < fresh[0]["train_loss"]


def test_what_is_not_here_is_said_with_how_to_get_it(made: Made, library: Path) -> None:
    model = build(made.config.model_for(1), made.shared.content.shape, 2)
    with pytest.raises(PackageError, match=r"not on this machine.*packages add"):
        first_weights(beginning(made), model, made.shared.content.labels)


def test_a_changed_file_or_another_package_under_the_name_is_refused(made: Made, library: Path) -> None:
    path = package_library.add(made.shared, made.file)
    model = build(made.config.model_for(1), made.shared.content.shape, 2)
    middle = len(made.file) // 2
    path.write_bytes(made.file[:middle] + bytes([made.file[middle] ^ 1]) + made.file[middle + 1 :])
    with pytest.raises(PackageError):
        first_weights(beginning(made), model, made.shared.content.labels)
    (library / f"{'0' * 64}.consilium").write_bytes(made.file)
    with pytest.raises(PackageError, match="Remove the file"):
        package_library.load("0" * 64)


def test_other_classes_preprocessing_model_and_size_are_refused(made: Made, library: Path) -> None:
    package_library.add(made.shared, made.file)
    config, content = beginning(made), made.shared.content
    model = build(config.model_for(1), content.shape, 2)
    with pytest.raises(PackageError, match="tells apart"):
        first_weights(config, model, tuple(reversed(content.labels)))
    with pytest.raises(PackageError, match="prepared in another way"):
        first_weights(beginning(made, preprocess=()), model, content.labels)
    height, width, channels = content.shape
    larger = build(config.model_for(1), (2 * height, 2 * width, channels), 3)
    with pytest.raises(PackageError, match="Its model and image size must be"):
        first_weights(config, larger, content.labels)


def test_a_digest_is_expected(made: Made) -> None:
    tree = {**made.config.model_dump(mode="json", exclude_none=True), "initial": "last-year"}
    with pytest.raises(ConfigError, match="initial"):
        from_tree(tree, Path("x.yaml"))


def test_a_package_is_kept_once_its_publisher_is_known(
    made: Made, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert client(["packages", "add", str(made.path), "--publisher", "0" * 16]) != 0
    assert package_library.digests() == []
    assert client(["packages", "add", str(made.path), "--publisher", made.shared.fingerprint]) == 0
    assert f"initial: {made.shared.digest}" in capsys.readouterr().out
    assert package_library.digests() == [made.shared.digest]
    assert client(["packages"]) == 0
    (damaged := library / f"{'0' * 64}.consilium").write_bytes(made.file[:100])
    capsys.readouterr()
    assert client(["packages"]) == 1
    shown = capsys.readouterr().out
    assert made.shared.digest in shown
    assert f"Cannot be used: {damaged}: " in shown
