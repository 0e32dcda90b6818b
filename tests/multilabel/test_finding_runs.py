"""Several findings an image, from the configuration to an answer: trained over sites, exported, used, drawn."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from client.__main__ import main as client
from client.dataset import loading
from client.plans import judge
from common import config as configuration
from common.errors import ConfigError
from common.package import load_verified_package, package_file
from common.plans.plan import RunPlan
from common.trust.documents import sign_document
from common.trust.keys import public_of
from server.export.model_card import CardTerms
from server.export.package import SigningPublisher, difference, export
from server.results import screen
from simulation.seeds import simulate
from tests.consortium.consortium import Consortium
from tests.package.shop import KEY, ROOT

FINDINGS = ["effusion", "nodule", "pacemaker"]
SMALL = ["data.sites=3", "data.cases=40", "data.size=32", f"data.findings=[{', '.join(FINDINGS)}]",
         "sites.unlabelled={Osaka: [pacemaker]}", "preprocess=[{step: resize, size: 16}]"]  # fmt: skip
CNN = ["model={kind: cnn, width: 4, multilabel: true}", "federation.rounds=1", "baselines=[]", "cross_site=false"]


def made(folder: Path, *more: str) -> dict[str, object]:
    config = configuration.load(ROOT / "configs" / "multilabel.yaml", [*SMALL, *more])
    return simulate(config, folder, Console(quiet=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings") / "svm"
    made(folder, "model.C=0.1", "federation.rounds=40")
    return folder


def packed(run: Path) -> Path:
    path = run.parent / f"{run.name}.consilium"
    path.write_bytes(export(run, SigningPublisher("tests", [KEY]), CardTerms("research", "CC0-1.0", {}), onnx=True))
    return path


def test_over_sites_every_finding_is_learned_as_from_the_pooled_cases_that_know_it(run: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["sites"]["Osaka"]["known"]["train"][2] == 0
    assert result["sites"]["Osaka"]["federated"]["findings"][2]["auc"] is None
    assert result["seeds"][0]["blends"]["Osaka"]["parts"] == {"federated": 1.0}
    for site in result["sites"].values():
        assert site["personalised"]["accuracy"] == site["federated"]["accuracy"]
    federated, pooled = (result["test"][way]["findings"] for way in ("federated", "pooled"))
    for j in range(len(FINDINGS)):
        known = sum(site["known"]["test"][j] for site in result["sites"].values())
        assert federated[j]["n"] == result["counts"]["test"]["federated"]["classes"][j]["n"] == known
        assert federated[j]["auc"] == pytest.approx(pooled[j]["auc"], abs=0.01)
    assert result["test"]["federated"]["auc"] == pytest.approx(np.mean([one["auc"] for one in federated]))
    page = (run / "report.html").read_text(encoding="utf-8")
    for name in FINDINGS:
        assert f"ROC: {name}" in page
    console = Console(record=True, width=140)
    screen.show(result, console)
    assert "AUC of every finding" in console.export_text()


def test_a_package_of_findings_answers_each_by_itself(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_file.read_package(path := packed(run))
    assert isinstance(package.content.threshold, tuple)
    assert [one.label for one in package.content.calibration] == [0, 1, 2]
    assert difference(package, 3) in (None, pytest.approx(0, abs=1e-4))
    monkeypatch.chdir(run.parent)
    images = loading.open_table(configuration.load(ROOT / "configs" / "multilabel.yaml", SMALL).data).images
    Image.fromarray((255 * images.stack[0]).astype(np.uint8)).save("chest.png")
    asked = ["--publisher", package.fingerprint, "--trusted", "p.json", "--csv", "a.csv", "--out", "pictures"]
    assert client(["predict", str(path), "chest.png", *asked]) == 0
    rows = list(csv.DictReader(Path("a.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["finding"] for row in rows] == FINDINGS
    for row, point, name in zip(rows, package.content.threshold, FINDINGS, strict=True):
        assert row["answer"] == ("present" if float(row["logit of present"]) > point else "absent")
        assert float(row["probability of present"]) + float(row["probability of absent"]) == pytest.approx(1)
        drawn = list(Path("pictures").glob(f"*-{name}.png")) if Path("pictures").exists() else []
        assert len(drawn) == (row["answer"] == "present")


def test_a_cnn_of_findings_trains_and_leaves_as_a_graph_with_a_probability_each(tmp_path: Path) -> None:
    import onnxruntime

    made(run := tmp_path / "cnn", *CNN)
    package = load_verified_package(packed(run).read_bytes(), "p", [public_of(KEY)])
    assert difference(package, 3) == pytest.approx(0, abs=1e-3)
    session = onnxruntime.InferenceSession(package.members["model.onnx"], providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((2, 16, 16, 1), np.float32)
    logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert package.model().evidence(package.weights, images[:1], 2).map.min() >= 0


def test_a_consortium_draws_up_no_plan_for_findings_and_no_site_takes_one(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    roster, terms = consortium.home.roster, "plan={dataset: chest, labels: [effusion, nodule], shape: [16, 16, 1]}"
    config = configuration.load(ROOT / "configs" / "multilabel.yaml", [*SMALL, terms])
    with pytest.raises(ConfigError, match=r"model\.multilabel"):
        RunPlan.from_config(config, roster, consortium.roots)
    allowed = RunPlan.from_config(consortium.config, roster, consortium.roots).content
    training = allowed.training.model_copy(update={"model": config.model})
    content = allowed.model_copy(update={"training": training})
    forged = RunPlan(content, sign_document("plan", content.model_dump(mode="json"), consortium.roots))
    assert "several findings" in judge.objection(consortium.sites["Osaka"], forged)
