"""`python -m client check` says what stands against a run, and its exit status says whether anything does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.__main__ import main

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(2)


def client(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "client", *map(str, arguments)],
        cwd=cwd, capture_output=True, encoding="utf-8", timeout=100, check=False,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "80", "PATH": ""},
    )  # fmt: skip


def prepare(tmp_path, rows, settings="", preprocess="[]"):
    """A manifest of rows (image, label, site, split): an image of None is missing, of bytes is written as they are."""
    lines = ["path,label,site,split"]
    for i, (image, label, site, split) in enumerate(rows):
        path = tmp_path / f"{i}.png"
        if isinstance(image, bytes):
            path.write_bytes(image)
        elif image is not None:
            Image.fromarray(image).save(path)
        lines.append(f"{path.name},{label},{site},{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        f"name: t\ndata: {{kind: manifest, path: list.csv, cache: cache{settings}}}\n"
        f"sites: {{split: natural}}\npreprocess: {preprocess}\nmodel: {{kind: svm}}\n",
        encoding="utf-8",
    )
    return tmp_path / "c.yaml"


def some(size=4):
    return RNG.integers(0, 256, (size, size), np.uint8)


def enough(site):
    return [
        (some(), label, site, split)
        for split, n in (("train", 10), ("validation", 5), ("test", 5))
        for label in ("ill", "well")
        for _ in range(n)
    ]


def check(capsys, *arguments):
    status = main(["check", *map(str, arguments)])
    return status, " ".join(capsys.readouterr().out.split())


def test_data_in_order_is_ready(tmp_path, capsys):
    status, said = check(capsys, prepare(tmp_path, enough("A") + enough("B")))
    assert status == 0
    assert "A 10/10 5/5 5/5 40 4×4" in said
    assert "all 80 cases have a label and an image" in said
    assert "no image is there twice" in said
    assert "Ready to train." in said


def test_what_would_stop_a_run_is_an_error_and_status_1(tmp_path, capsys):
    rows = [*enough("A"), (b"no image", "ill", "A", "train"), (None, "ill", "A", "train"), (some(), "", "A", "train")]
    status, said = check(capsys, prepare(tmp_path, rows))
    assert status == 1
    assert "ERROR 3 bad cases" in said
    for what in ("list.csv, row 44: the cell 'label' is empty", "not an image of a known format", "no such file"):
        assert what in said
    status, said = check(capsys, prepare(tmp_path, rows, ", on_error: report"))
    assert status == 0
    assert "warn 3 bad cases" in said


def test_duplicates_are_told_apart_by_where_they_are(tmp_path, capsys):
    one, two, three, four = (some() for _ in range(4))
    rows = enough("A") + enough("B")
    rows += [(one, "ill", "A", "train"), (one, "ill", "A", "test")]
    rows += [(two, "ill", "A", "train"), (two, "ill", "B", "train")]
    rows += [(three, "ill", "A", "train")] * 2
    rows += [(four, "ill", "A", "train"), (four, "well", "A", "train")]
    _, said = check(capsys, prepare(tmp_path, rows))
    for where in ("across splits", "across sites", "within one split", "with different labels"):
        assert f"1 images are there again {where}" in said


def test_gaps_flat_images_and_sizes_are_named(tmp_path, capsys):
    rows = [*enough("A"), (np.zeros((4, 4), np.uint8), "ill", "A", "train"), (some(), "ill", "B", "train")]
    status, said = check(capsys, prepare(tmp_path, rows))
    assert status == 0
    assert "site 'B' has few cases: train 1 of 'ill', 0 of 'well'" in said
    assert "1 images have one value everywhere" in said
    rows.append((some(7), "ill", "A", "train"))
    status, said = check(capsys, prepare(tmp_path, rows))
    assert status == 1
    assert "differ in size" in said
    assert check(capsys, prepare(tmp_path, rows, preprocess="[{step: resize, size: 4}]"))[0] == 0


def test_few_bits_in_sixteen_are_named_with_the_window_that_shows_them(tmp_path, capsys):
    path = prepare(tmp_path, enough("A") + enough("B"))
    for number, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        pixels = np.random.default_rng(number).integers(0, 4096, (9, 9), np.uint16)
        pixels[0, 0] = 4095
        Image.fromarray(pixels).save(file)
    assert "use 12 of them, a sliver of the range (the brightest value is 4095)" in (said := check(capsys, path)[1])
    assert "put {step: window, center: 2047.5, width: 4095} first in preprocess" in said
    path = prepare(tmp_path, enough("A") + enough("B"), preprocess="[{step: window, center: 2047.5, width: 4095}]")
    assert "use 12 of them" not in check(capsys, path)[1]


def test_a_site_without_training_cases_is_an_error(tmp_path, capsys):
    status, said = check(capsys, prepare(tmp_path, [*enough("A"), (some(), "ill", "B", "test")]))
    assert status == 1
    assert "ERROR site 'B' has nothing to train on" in said


@pytest.mark.parametrize("key", ["data.pathh=x", "sites.count=0", "data.path=nowhere.csv", "nonsense"])
def test_a_bad_configuration_is_one_message_and_status_2(tmp_path, capsys, key):
    assert main(["check", str(prepare(tmp_path, enough("A"))), key]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")


def test_an_interrupted_check_says_so(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("client.dataset.readiness.examine", interrupted)
    assert main(["check", str(prepare(tmp_path, enough("A")))]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_the_command_line_works_as_its_user_calls_it(tmp_path):
    done = client("check", ROOT / "configs/demo.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Ready to train." in done.stdout
    assert "images of 1 size(s) become 32×32×1 for the model" in done.stdout
    help_ = client("check", "--help")
    assert "python -m client check configs/demo.yaml" in help_.stdout
    assert client("check", "none.yaml").returncode == 2
    assert client().returncode == 2
