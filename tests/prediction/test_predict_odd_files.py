"""Files of any name, arrays of any number, places that cannot be written: every image is answered or named."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.__main__ import main as client
from client.prediction import inputs, outcome, outcome_table, trust
from client.prediction.outcome import Failure
from common.cli.harmless import legible
from common.errors import PackageError
from common.imaging import Picture
from common.package import package_file, zip_archive
from tests.package.shop import ROOT, Made

Run = Callable[..., int]
GREY = np.random.default_rng(7).integers(0, 256, (40, 50), dtype=np.uint8)


@pytest.fixture
def predict(svm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> int:
        told = ["--publisher", svm.shared.fingerprint, "--trusted", "publishers.json", "--home", "none"]
        return client(["predict", str(svm.path), *told, *map(str, arguments)])

    return run


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG")
    return out.getvalue()


NAMES = [b"new\nline.png", b"\x1b[2J.png", b"no utf \xff\xfe.png", "\u202egnp.png".encode(), b"$x_{\\frac$.png",
         b"[bold]x[", b":skull:.png", b"<script>.png", b"=1+1.png", b"\t=1+1.png", b"-dash.png",
         "日本.png".encode()]  # fmt: skip


def test_a_file_may_be_called_anything(predict: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        Path(os.fsdecode(name)).write_bytes(png())
    Path(os.fsdecode(b"cut\x1b[31m\xff.png")).write_bytes(png()[:50])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert predict("--csv", "out/a.csv", "--json", "out/a.json", "--out", "out", "--", *names) == 1
    said = capsys.readouterr()
    assert not [c for c in said.out + said.err if ord(c) < 32 and c != "\n"]
    assert ":skull:" in said.out
    told = json.loads((tmp_path / "out" / "a.json").read_text(encoding="utf-8"))
    assert [f["image"] for f in told["failures"]] == ["cut\\x1b[31m\\udcff.png"]
    assert {a["image"] for a in told["answers"]} == {legible(os.fsdecode(name)) for name in NAMES}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "a.csv").read_bytes().decode())))
    assert len(rows) == len(NAMES)
    assert not [row for row in rows if row["image"].startswith(("=", "-", "\t"))]
    assert len(list((tmp_path / "out").glob("*.png"))) == len(NAMES)


def test_no_cell_is_a_formula_in_whatever_letters() -> None:
    for name in ("=1", "+1", "-1", "@x", " =1", "\t=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"):
        row = outcome_table.OutcomeRow(name, "", None, {"image": name}, "", "")
        assert outcome_table.as_csv([row]).decode().splitlines()[1].startswith("'"), name


def test_one_bad_argument_leaves_the_others_answered(
    predict: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "loop").symlink_to("..")
    (tmp_path / "in" / "deep" / "self").symlink_to("self")
    for folder in ("in", "in/deep"):
        (tmp_path / folder / "same.png").write_bytes(png())
    np.savez("in/odd.npz", images=np.zeros((2, 3, 3), complex))
    np.savez("in/pickled.npz", images=np.array([{}], dtype=object))
    (tmp_path / "in" / "no.npz").write_bytes(b"")
    assert predict("empty", "in", "x" * 5000, "none.npz", "--json", "a.json", "--out", "out") == 1
    told = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [a["image"] for a in told["answers"]] == ["in/deep/same.png", "in/same.png"]
    assert len(told["failures"]) == 7  # a link that leads to itself among them
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_numbers_that_are_none_are_named_and_do_not_change_the_others(predict: Run, tmp_path: Path) -> None:
    images = np.random.default_rng(1).random((4, 20, 20)) * 9
    np.savez("good.npz", images=images[:2])
    images[2, 0, 0], images[3] = np.nan, 1e300
    images[2, 0, 1] = -np.inf
    np.savez("all.npz", images=images)
    np.savez("none.npz", images=images[2:])
    assert predict("good.npz", "--json", "good.json", "--no-pictures") == 0
    assert predict("all.npz", "none.npz", "--json", "all.json", "--no-pictures") == 1
    good, told = (json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in ("good", "all"))
    assert [f["image"] for f in told["failures"]] == [
        "all.npz: images[2]", "all.npz: images[3]", "none.npz: images[0]", "none.npz: images[1]",
    ]  # fmt: skip
    assert [a["logit of disease"] for a in told["answers"]] == [a["logit of disease"] for a in good["answers"]]


def test_an_image_of_which_the_model_makes_no_number_is_named(svm: Made) -> None:
    weights = {name: np.full_like(array, 1e308) for name, array in svm.shared.weights.items()}
    picture = Picture(GREY[..., None].astype(np.float32), 0, 255)
    shared = replace(svm.shared, weights=weights)
    with np.errstate(all="ignore"):
        told = list(outcome.outcomes(shared, shared.model(), [inputs.Image("x", lambda: [picture])]))
    assert isinstance(told[0], Failure)
    assert "makes no number" in told[0].why


def test_answers_are_shown_even_if_nothing_can_be_written(
    predict: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.png", "2.png", "out"):
        (tmp_path / name).write_bytes(png())
    (tmp_path / "a.csv").mkdir()
    assert predict("1.png", "2.png", "--out", "out", "--csv", "a.csv", "--json", "a.json") == 1
    said = capsys.readouterr()
    assert "2 images answered" in said.out
    assert "not written: a.csv: " in said.err
    assert "not written: out/0001-1.png.png: " in said.err
    assert len(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["answers"]) == 2


def test_a_publisher_that_cannot_be_remembered_is_compared_again(svm: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    place = tmp_path / "file" / "publishers.json"
    assert "cannot be remembered" in trust.settle(svm.shared, tmp_path, svm.shared.fingerprint, place)
    with pytest.raises(PackageError, match="not signed by a publisher that is trusted"):
        trust.settle(svm.shared, tmp_path, None, place)
    with pytest.raises(PackageError, match="no home folder"):
        trust.settle(svm.shared, tmp_path, svm.shared.fingerprint, Path("~nobody-of-this-name/p.json"))


def test_a_model_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "MOST_BYTES", 1 << 20)
    with pytest.raises(PackageError, match="/dev/zero: more than 1,048,576 bytes"):
        package_file.read_package(Path("/dev/zero"))


def test_a_terminal_of_few_letters_gets_the_answers_all_the_same(svm: Made, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    code = "import sys; from client.__main__ import main; sys.exit(main(sys.argv[1:]))"
    told = ["--publisher", svm.shared.fingerprint, "--trusted", str(tmp_path / "p.json"), "--no-pictures"]
    done = subprocess.run([sys.executable, "-c", code, "predict", str(svm.path), str(tmp_path / "a.png"), *told],
                          cwd=ROOT, capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"1 images answered" in done.stdout
