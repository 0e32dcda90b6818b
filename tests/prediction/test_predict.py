"""`python -m server export` and `python -m client predict` as people use them: files as they come, good and bad."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.__main__ import main as client
from client.prediction import inputs, outcome
from common.config import Cnn, Svm
from common.errors import DataError
from common.imaging import Picture, Pipeline
from common.imaging.footprint import footprint
from common.imaging.step_order import AnyStep
from common.imaging.steps import Crop, Resize
from common.metrics import calibration, out_of_distribution
from common.metrics.out_of_distribution import Reference
from common.metrics.score_bins import BINS, bin_of
from common.models import build
from server.__main__ import main as server
from tests.cli.piping import piped
from tests.custody import hospital
from tests.package.shop import ROOT, Made
from tests.readers.pydicom_files import FOLDERS, SMALL

Run = Callable[..., int]
CHEST = FOLDERS[-1] / "RG1_UNCR.dcm"


@pytest.fixture
def predict(svm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, for the SVM's package, whose publisher was compared."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, model: Made = svm) -> int:
        told = ["--publisher", model.shared.fingerprint, "--trusted", "publishers.json"]
        return client(["predict", str(model.path), *map(str, arguments), *told])

    return run


def phantoms(made: Made, folder: Path, many: int) -> None:
    """Test images of the run, as PNG files."""
    folder.mkdir()
    for i, image in enumerate(dataset_images(made)[:many]):
        Image.fromarray(image).save(folder / f"{i}.png")


def dataset_images(made: Made) -> np.ndarray:
    from client.sources import synthetic
    from common.config import Synthetic

    assert isinstance(made.config.data, Synthetic)
    images = synthetic.draw(made.config.data).images
    return np.stack([_grey(p) for p in images.pictures(range(len(images)))])


def _grey(picture: Picture) -> np.ndarray:
    unit = (picture.pixels[..., 0] - picture.low) / (picture.high - picture.low)
    return np.round(np.clip(unit, 0, 1) * 255).astype(np.uint8)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["40", "200"])
def test_images_whose_paths_begin_alike_have_a_whole_line_each_in_a_pipe(
    svm: Made, tmp_path: Path, columns: str
) -> None:
    folder = tmp_path / "export of the [chest] department, with a name that is long" / "and of the year 2026"
    folder.parent.mkdir()
    phantoms(svm, folder, 4)
    asked = ("--publisher", svm.shared.fingerprint, "--trusted", tmp_path / "p.json", "--no-pictures")
    lines = piped("client", "predict", svm.path, folder, *asked, columns=columns).splitlines()
    for i in range(4):
        (line,) = [line for line in lines if f"{folder / str(i)}.png" in line]
        assert re.search(r"\.png +[a-z]+ +[\d.]+ % +\S.*\w", line)


def test_a_folder_is_answered_and_what_is_damaged_is_named(
    svm: Made, predict: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantoms(svm, tmp_path / "in", 12)
    (tmp_path / "in" / "cut.png").write_bytes((tmp_path / "in" / "3.png").read_bytes()[:200])
    (tmp_path / "in" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "in" / "empty.dcm").write_bytes(b"")
    assert predict("in", "gone.dcm", "--csv", "a.csv", "--json", "a.json", "--no-pictures") == 1
    said = capsys.readouterr()
    assert "12 images answered, 4 not used" in said.out
    for name in ("in/cut.png", "in/notes.txt", "in/empty.dcm", "gone.dcm"):
        assert f"not used: {name}: " in said.err
    assert "Traceback" not in said.err
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()))
    told = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert len(rows) == len(told["answers"]) == 12
    assert len(told["failures"]) == 4
    assert told["digest"] == svm.shared.digest
    assert {row["answer"] for row in rows} <= {"clear", "disease"}
    assert all(0 <= float(row["probability of disease"]) <= 1 for row in rows)
    assert not (tmp_path / "predictions").exists()


def test_whatever_pydicom_brings_along_is_answered_or_named(
    predict: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(SMALL.glob("*.dcm"))
    status = predict(*files, "--json", "a.json", "--no-pictures")
    told = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert len(told["answers"]) + len(told["failures"]) == len(files)
    assert len(told["answers"]) > 10
    assert any("MR_truncated" in failure["image"] for failure in told["failures"])
    # Slices of a magnetic resonance, colour test cards: nothing of that is like the phantoms.
    assert sum(bool(a["unlike the training"]) for a in told["answers"]) > 0.9 * len(told["answers"])
    assert status == 1
    assert "Traceback" not in capsys.readouterr().err


def test_no_name_of_a_patient_comes_out(predict: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(SMALL / "CT_small.dcm", "--csv", "a.csv", "--json", "a.json") == 0
    said = (
        "".join(capsys.readouterr())
        + (tmp_path / "a.csv").read_text(encoding="utf-8")
        + (tmp_path / "a.json").read_text(encoding="utf-8")
    )
    assert "CompressedSamples" not in said
    assert "1CT1" not in said


@pytest.mark.skipif(not CHEST.exists(), reason="pydicom-data is not installed. pip install pydicom-data")
def test_a_chest_radiograph_gets_an_answer_and_a_picture(made: Made, predict: Run, tmp_path: Path) -> None:
    assert predict(CHEST, model=made) == 0
    [picture] = (tmp_path / "predictions").iterdir()
    shown = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert min(shown.shape[:2]) > 600
    assert (np.abs(shown - shown.mean(axis=2, keepdims=True)).max(axis=2) > 30).mean() > 0.005  # colours are on it


def test_arrays_frames_and_encrypted_names_are_understood(svm: Made, predict: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", test_images=dataset_images(svm)[:5], test_labels=np.zeros(5))
    assert predict("m.npz", "--json", "a.json", "--no-pictures") == 0
    assert [a["image"] for a in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["answers"]][
        4
    ] == "m.npz: test_images[4]"
    several = SMALL / "SC_rgb_rle_2frame.dcm"
    assert predict(several, "--frames", "all", "--json", "a.json", "--no-pictures") in (0, 1)
    told = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert len(told["answers"]) in (0, 2)
    assert predict("chest/17", "--no-pictures") == 1


def test_answers_are_those_of_the_model_in_its_run(svm: Made, predict: Run, tmp_path: Path) -> None:
    images = dataset_images(svm)[:40]
    np.savez(tmp_path / "m.npz", images=images)
    assert predict("m.npz", "--json", "a.json", "--no-pictures") == 0
    told = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["answers"]
    pictures = [Picture(image[..., None].astype(np.float32), 0, 255) for image in images]
    logits = svm.shared.scores(svm.shared.model(), svm.shared.pipeline.before(pictures))
    assert [[a["logit of clear"], a["logit of disease"]] for a in told] == logits.astype(float).tolist()
    threshold = svm.shared.content.threshold or 0.0
    assert [a["answer"] == "disease" for a in told] == (logits[:, 1] - logits[:, 0] > threshold).tolist()


def test_predicting_with_an_svm_loads_no_tensorflow(svm: Made, tmp_path: Path) -> None:
    Image.fromarray(dataset_images(svm)[0]).save(tmp_path / "one.png")
    code = (
        "import sys\nfrom client.__main__ import main\n"
        f"status = main(['predict', {str(svm.path)!r}, {str(tmp_path / 'one.png')!r}, '--out', {str(tmp_path)!r},"
        f" '--publisher', {svm.shared.fingerprint!r}, '--trusted', {str(tmp_path / 'p.json')!r}])\n"
        "assert not {'tensorflow', 'keras', 'onnx', 'sklearn'} & set(sys.modules)\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# --- whom to trust --------------------------------------------------------------------------------------------------


def test_a_publisher_is_compared_once_and_remembered(
    svm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(dataset_images(svm)[0]).save("one.png")
    ask = ["predict", str(svm.path), "one.png", "--no-pictures", "--trusted", "p.json"]
    assert client(ask) == 2
    assert "not signed by a publisher that is trusted here" in (said := capsys.readouterr().err)
    assert "PACKAGE" in said
    assert client([*ask, "--publisher", "11111 22222 33333 44444 55555 66666"]) == 2
    assert not Path("p.json").exists()
    assert client([*ask, "--publisher", svm.shared.fingerprint.replace(" ", "")]) == 0
    assert client(ask) == 0
    Path("p.json").write_text("[]", encoding="utf-8")
    assert client(ask) == 2


def test_a_consortium_s_package_is_trusted_at_its_sites_alone(svm: Made, tmp_path: Path) -> None:
    home, site = tmp_path / "consortium", tmp_path / "site"
    assert server(["init", "pilot", "--no-passphrase", "--address", "localhost:8443", "--home", str(home)]) == 0
    out = tmp_path / "pilot.consilium"
    assert server(["export", str(svm.run), "--home", str(home), "--out", str(out)]) == 0
    site.mkdir()
    (site / "pins.json").write_bytes((home / "pins.json").read_bytes())
    Image.fromarray(dataset_images(svm)[0]).save(image := tmp_path / "one.png")
    ask = ["--no-pictures", "--trusted", str(tmp_path / "p.json"), "--home", str(site)]
    assert client(["predict", str(out), str(image), *ask]) == 0
    assert client(["predict", str(svm.path), str(image), *ask]) == 2
    assert client(["predict", str(out), str(image), *ask[:-2], "--home", str(tmp_path / "none")]) == 2


def test_what_cannot_be_exported_is_said(
    svm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "result.json").write_text("{}", encoding="utf-8")
    for run, more, hint in (
        ("nothing", [], "no folder with a result.json"),
        ("half", [], "no model.safetensors"),
        (str(svm.run), ["--country", "Atlantis=Sea"], "trained nothing in this run; Lisbon, Nairobi, Osaka did"),
        (str(svm.run), ["--country", "Lisbon"], "SITE=COUNTRY"),
    ):
        assert server(["export", run, "--key", "k", *more]) == 2
        assert hint in capsys.readouterr().err
    Path("k").write_text("no key", encoding="utf-8")
    assert server(["export", str(svm.run), "--key", "k"]) == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err


# --- what is said of an answer --------------------------------------------------------------------------------------


def test_unlike_images_are_called_so_and_others_are_not(made: Made) -> None:
    reference, told = Reference.of(made.shared.likeness), made.shared.content.likeness
    assert reference is not None
    assert told is not None
    before, random = made.shared.pipeline.before, np.random.default_rng(1)

    def warned(images: np.ndarray) -> float:
        stack = before([Picture(i[..., None].astype(np.float32), 0, 255) for i in images])
        return float((reference.distances(stack) > told.limit).mean())

    validation = np.concatenate([site.validation.images for site in made.data.sites])
    assert (reference.distances(validation) > told.limit).mean() <= 0.05
    assert (reference.distances(made.data.test.images) > told.limit).mean() <= 0.1
    images = dataset_images(made)[:50]
    assert warned(255 - images) >= 0.9
    assert warned(random.integers(0, 256, images.shape)) == 1
    assert warned(np.zeros((1, 32, 32))) == 1
    assert warned(np.rot90(images, 1, (1, 2))) >= 0.5


def test_likeness_from_sums_over_sites_is_that_of_all_images_together() -> None:
    stack = np.random.default_rng(1).random((60, 9, 12, 3), dtype=np.float32)
    parts = [
        out_of_distribution.sums(stack[:7]),
        out_of_distribution.sums(stack[7:31]),
        out_of_distribution.sums(stack[31:]),
    ]
    whole = {name: sum(part[name] for part in parts) for name in parts[0]}
    found = Reference.of(whole)
    assert found is not None
    assert np.allclose(found.mean, out_of_distribution.traits(stack).mean(axis=0))
    assert 0.5 < found.distances(stack).mean() < 1.5
    assert np.abs(out_of_distribution.traits(stack)).max() <= 1
    assert Reference.of(out_of_distribution.of_nobody()) is None


def test_the_limit_leaves_one_in_a_hundred_outside() -> None:
    distances = np.random.default_rng(2).gamma(9, 0.1, 5000)
    limit, share = out_of_distribution.limit(out_of_distribution.histogram(distances))
    assert share <= 0.01
    assert np.isclose((distances > limit).mean(), share)
    assert np.isclose(limit, np.quantile(distances, 0.99), rtol=0.05)


def test_neighbours_are_those_around_and_no_farther_than_that() -> None:
    outside, inside = np.zeros(BINS), np.zeros(BINS)
    inside[bin_of(0.1)] = 40
    outside[bin_of(-0.15)] = 10
    inside[bin_of(16.2)] = 1000
    found = calibration.neighbours(0.0, outside, inside)
    assert (found.n, found.of_class) == (50, 40)
    assert calibration.neighbours(15.99, outside, inside).n == 1000
    assert calibration.neighbours(-12.0, outside, inside).n == 0


def test_the_fitted_probability_is_calibrated() -> None:
    random = np.random.default_rng(3)
    margins = random.normal(0, 3, 20_000)
    positive = random.random(20_000) < 1 / (1 + np.exp(-(0.5 * margins - 1)))
    bins = bin_of(margins)
    outside, inside = (np.bincount(bins[positive == side], minlength=BINS).astype(float) for side in (False, True))
    slope, intercept = calibration.fitted(outside, inside)
    assert np.isclose(slope, 0.5, atol=0.03)
    assert np.isclose(intercept, -1, atol=0.06)
    assert calibration.fitted(inside, outside)[0] == 0  # worse than chance: nothing is learned of it


# --- where an answer comes from -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        [Resize(step="resize", size=(20, 30))],
        [Resize(step="resize", size=(40, 40), keep_aspect=True)],
        [Crop(step="crop", size=(60, 50)), Resize(step="resize", size=(30, 25))],
        [Crop(step="crop", box=(0.1, 0.2, 0.5, 0.6), unit="share"), Resize(step="resize", size=(25, 36))],
        [Resize(step="resize", size=(50, 60)), Crop(step="crop", size=(20, 20))],
    ],
)
def test_the_footprint_is_where_the_pixels_come_from(steps: list[AnyStep]) -> None:
    height, width = 100, 120
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
    found = footprint(steps, height, width)
    for ramp, low, high, axis in ((rows, found.top, found.bottom, 0), (columns, found.left, found.right, 1)):
        seen = Pipeline(steps).apply([Picture(ramp[..., None], 0.0, 128.0)])[0, ..., 0] * 128
        line = seen.mean(axis=1 - axis) if axis == 0 else seen[seen.shape[0] // 2]
        line = seen[:, seen.shape[1] // 2] if axis == 0 else line
        expected = low + (np.arange(len(line)) + 0.5) * (high - low) / len(line)
        inner = slice(len(line) // 4, -len(line) // 4)
        assert np.allclose(line[inner], expected[inner], atol=0.6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("features", ["identity", "fourier"])
def test_an_svm_s_evidence_sums_to_its_score(features: str, classes: int) -> None:
    random = np.random.default_rng(5)
    model = build(Svm(kind="svm", features=features, dimension=41, seed=2), (6, 5, 2), classes)  # type: ignore[arg-type]
    weights = {n: random.normal(0, 1, w.shape) for n, w in model.init(0).items()}
    image = random.normal(0, 1, (1, 6, 5, 2)).astype(np.float32)
    scores = model.scores(weights, np.concatenate([image, np.zeros_like(image)]))
    for label in range(classes):
        found = model.evidence(weights, image, label)
        assert found.is_signed
        assert np.isclose(found.map.sum(), scores[0, label] - scores[1, label], atol=2e-3)


def test_a_network_s_evidence_lies_where_the_class_is() -> None:
    """One filter that answers to bright, and a class that follows from it."""
    model = build(Cnn(kind="cnn", architecture="groupnorm", width=4), (32, 32, 1), 2)
    weights = {n: w.copy() for n, w in model.init(3).items()}
    image = np.zeros((1, 32, 32, 1), np.float32)
    image[0, 4:12, 20:28] = 3
    heats = [model.evidence(weights, image, label).map for label in (0, 1)]
    assert all(heat.shape == (8, 8) and (heat >= 0).all() for heat in heats)
    assert any(heat[1:3, 5:7].max() == heat.max() > 0 for heat in heats)


def test_an_encrypted_data_set_is_answered_by_its_name(svm: Made, tmp_path: Path) -> None:
    custody = hospital.open_hospital(tmp_path)
    hospital.taken_in(custody, hospital.folder_of_dicoms(tmp_path / "raw", size=32))
    assert [i.name for i in inputs.images(["chest/1"], custody.home, "middle")] == ["chest/1"]
    named = inputs.images([str(custody.sets / "chest")], custody.home, "middle")
    assert len(named) == 6
    told = list(outcome.outcomes(svm.shared, svm.shared.model(), named))
    assert all(isinstance(one, outcome.Outcome) for one in told)
    with pytest.raises(DataError, match="expected chest/0 to chest/5"):
        inputs.images(["chest/6"], custody.home, "middle")


def test_of_three_classes_the_largest_is_the_answer_and_probabilities_sum_to_one(svm: Made) -> None:
    one = svm.shared.content.calibration[0]
    three = tuple(one.model_copy(update={"label": k, "slope": 1.0 + k}) for k in range(3))
    labels = ("normal", "benign", "malignant")
    content = svm.shared.content.model_copy(update={"labels": labels, "calibration": three, "threshold": None})
    picture, seen = Picture(np.zeros((4, 4, 1), np.float32), 0, 1), np.zeros((1, 4, 4, 1), np.float32)
    told = outcome.outcome(content, "x", picture, seen, np.array([[0.1, 2.0, -1.0]], np.float32), None)
    assert (told.answer, told.point) == (1, None)
    assert told.probabilities is not None
    assert np.isclose(sum(told.probabilities), 1)
    assert "were benign." in outcome.statement(content, told)
    nothing = outcome.outcome(content.model_copy(update={"calibration": ()}), "x", picture, seen, np.ones((1, 3)), 9.0)
    assert nothing.probabilities is None
    assert outcome.statement(content, nothing).startswith("Nothing was evaluated")
    assert outcome.warning(content, nothing).startswith("UNLIKE")


def test_an_image_of_another_size_or_colour_is_named_and_not_bent(svm: Made) -> None:
    bent = svm.shared.pipeline.before([Picture(np.zeros((9, 9, 3), np.float32), 0, 1)])
    with pytest.raises(DataError, match="32×32×3 after the model's preprocessing"):
        svm.shared.scores(svm.shared.model(), bent)


def test_a_model_that_knows_not_how_its_images_look_says_so(made: Made) -> None:
    content = made.shared.content
    assert outcome.blindness(content) == ""
    assert "no warning is given" in outcome.blindness(content.model_copy(update={"likeness": None}))


def test_a_run_under_a_budget_whose_noise_left_no_validation_case_has_no_neighbours() -> None:
    nothing = calibration.dense(np.array([]), np.array([]))
    assert calibration.neighbours(0.3, nothing, nothing).n == 0
