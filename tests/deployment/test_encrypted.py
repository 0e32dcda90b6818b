"""Import, encrypt, train together, export, predict: three hospitals whose images lie in their custody alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom.data import get_testdata_file

from tests.catalogue.fair import ABOUT
from tests.consortium.consortium import LEAST
from tests.custody.hospital import dicom, written
from tests.deployment.federation import ROOT
from tests.deployment.whole import SITES, Quick, ended

pytestmark = pytest.mark.slow

REAL = ROOT.parent / "shared" / "data" / "pneumoniamnist.npz"
A_SITE = 1000
LABELS = ("normal", "pneumonia")
TREE = {
    "name": "custody",
    "data": {"kind": "synthetic", "sites": 3, "cases": 24, "size": 28},
    "sites": {"split": "natural"},
    "preprocess": [{"step": "window", "source": "file"}, {"step": "grey"}, {"step": "resize", "size": 28},
                   {"step": "normalise", "by": "image"}],
    "model": {"kind": "svm", "features": "fourier", "dimension": 1024, "C": 0.003},
    "baselines": [],
    "federation": {"rounds": 20, "quorum": 3, "timeout_s": 60},
    "privacy": "none",
    "plan": {"dataset": "chest", "labels": LABELS, "shape": [28, 28, 1]},
}  # fmt: skip


def export_of_a_pacs(folder: Path, number: int) -> None:
    """Radiographs as nested DICOM files, a folder a class; drawn at random where the public set is not there."""
    random = np.random.default_rng(number)
    if REAL.exists():
        with np.load(REAL) as parts:
            images = parts["train_images"][number * A_SITE : (number + 1) * A_SITE]
            labels = parts["train_labels"].ravel()[number * A_SITE : (number + 1) * A_SITE]
    else:
        labels = np.arange(A_SITE) % 2
        images = random.integers(0, 120 + 100 * labels[:, None, None], (A_SITE, 28, 28)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / LABELS[int(label)] / f"Sousa-{i}"
        place.mkdir(parents=True)
        (place / "IM0001").write_bytes(written(dicom(image, PatientID=f"{number}-{i}")))


@pytest.fixture
def federation(tmp_path: Path) -> Quick:
    path = tmp_path / "custody.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(TREE))), encoding="utf-8")
    return Quick(tmp_path, path, SITES)


def test_images_in_custody_are_trained_on_together_and_the_model_comes_back(federation: Quick, tmp_path: Path) -> None:
    with ended(federation):
        federation.found()
        for number, site in enumerate(SITES):
            home = tmp_path / site
            export_of_a_pacs(tmp_path / "pacs" / site, number)
            federation.client(site, "custody", "begin", str(tmp_path / f"{site}.recovery"))
            federation.client(site, "import", str(tmp_path / "pacs" / site), "--name", "chest")
            settings = yaml.safe_load((home / "site.yaml").read_text(encoding="utf-8"))
            own = {"kind": "encrypted", "path": str(home / "sets" / "chest"), "labels": list(LABELS)}
            settings["policy"] = (settings.get("policy") or {}) | {"least": LEAST}
            settings["datasets"] = {"chest": {"data": own, "about": ABOUT | {"contact": ""}}}
            (home / "site.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        federation.start()
        federation.ready()
        run = federation.submit()
        assert federation.wait(run, 180) == "finished"
        auc = federation.result(run)["validation"]["auc"]
        assert auc > 0.9
        for site in SITES:
            assert "cases" in federation.client(site, "catalogue", "offer", "chest", "--yes")
        exported, package = tmp_path / "exported.consilium", tmp_path / "chest.consilium"
        federation.server("export", run, "--out", str(exported))
        federation.server("catalogue", "offer", str(exported), "--name", "chest-svm", "--yes")
        federation.client(SITES[0], "catalogue", "take", "chest-svm", "--out", str(package))
        assert package.read_bytes() == exported.read_bytes()
        assert "test cases" in federation.client(SITES[1], "compare", str(package))
        answers, radiograph = tmp_path / "answers.json", str(get_testdata_file("RG1_UNCR.dcm"))
        federation.client(
            SITES[0], "predict", str(package), "chest/17", radiograph, "--json", str(answers), "--out",
            str(tmp_path / "pictures"),
        )  # fmt: skip
        told = json.loads(answers.read_text(encoding="utf-8"))
        assert len(told["answers"]) == 2
        assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
    held = [path for path in federation.home.rglob("*") if path.is_file() and b"Sousa" in path.read_bytes()]
    held += [
        path
        for site in SITES
        for path in (tmp_path / site).rglob("*")
        if path.is_file() and b"Sousa" in path.read_bytes()
    ]
    assert not held
    print({"cases": 3 * A_SITE, "validation AUC": round(auc, 3), "answers": [i["answer"] for i in told["answers"]]})
