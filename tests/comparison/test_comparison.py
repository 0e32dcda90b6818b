"""What a federated model is worth at a hospital: the figures that a simulation of the same federation gives it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from client.__main__ import main
from client.comparison import comparison
from client.comparison.verdict import verdict
from common.config import Config
from common.models import build
from common.storage.files import read_json
from common.types import SiteCases
from server.__main__ import main as coordinator
from server.runs import driver
from simulation.seeds import simulate
from tests.consortium.consortium import NAMES, SVM, Consortium, config_of
from tests.privacy.private_world import network_config, private_config
from tests.rounds.world import SHAPE, cases
from tests.runs.test_runs import Hospitals

CNN: dict[str, Any] = SVM | {
    "name": "small-cnn",
    "preprocess": [{"step": "normalise", "by": "image"}],
    "model": {"kind": "cnn", "width": 4},
    "federation": {"rounds": 3, "local": {"learning_rate": 0.01, "batch": 8}},
}
MORE: dict[str, Any] = {
    "data": {"kind": "synthetic", "sites": 3, "cases": 150, "size": 16},
    "baselines": ["local"],
    "personalise": {},
    "cross_site": False,
}


@pytest.mark.parametrize("tree", [SVM, pytest.param(CNN, marks=pytest.mark.slow)], ids=["svm", "cnn"])
def test_a_hospital_finds_the_figures_that_a_simulation_gives_it(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tree | MORE
    consortium = Consortium(tmp_path / "life", tree=tree)
    run = consortium.begun(consortium.plan(tree=tree))
    driver.carry_out(run, Hospitals(consortium, run.plan))
    package = tmp_path / "shared.consilium"
    home = ["--home", str(consortium.home.folder)]
    assert coordinator(["export", run.name, "--out", str(package), *home]) == 0
    result = simulate(config_of(tmp_path / "same", tree), tmp_path / "same" / "run", Console(quiet=True))
    assert result is not None
    expected = read_json(tmp_path / "same" / "run" / "result.json")["seeds"][0]["sites"]
    for name in NAMES:
        site = consortium.sites[name]
        (site.folder / "address").write_text("127.0.0.1:9\n", encoding="utf-8")  # nobody is asked, and nobody told
        capsys.readouterr()
        assert main(["compare", str(package), "--home", str(site.folder)]) == 0
        said = capsys.readouterr().out
        (written,) = (site.folder / "comparisons").glob("*.json")
        told = read_json(written)
        for approach in ("local", "federated", "personalised"):
            for figure in ("n", "auc", "accuracy", "log_loss"):
                assert told["figures"][approach][figure] == pytest.approx(expected[name][approach][figure], abs=1e-6)
            assert f"{told['figures'][approach]['auc']:.3f}" in said
        assert verdict(told) in " ".join(said.split())
        assert (site.folder / "comparisons" / f"{told['model']}.png").read_bytes().startswith(b"\x89PNG")
    stranger = Consortium(tmp_path / "other", stranger=True)
    assert main(["compare", str(package), "--home", str(stranger.sites["Osaka"].folder)]) == 2
    assert "[PACKAGE" in capsys.readouterr().err


def test_the_difference_is_told_with_how_sure_it_is() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(300) < 0.3).astype(np.int64)

    def scored(strength: float) -> Any:
        return np.stack([np.zeros(300), strength * labels + rng.normal(size=300)], axis=1).astype(np.float32)

    weak, strong = scored(0.5), scored(2.0)
    found = comparison.difference(weak, strong, labels)
    assert found is not None
    gap = roc_auc_score(labels, strong[:, 1]) - roc_auc_score(labels, weak[:, 1])
    assert found["auc"] == pytest.approx(gap, abs=1e-12)
    assert 0 < found["interval"][0] < gap < found["interval"][1]
    same = comparison.difference(weak, weak, labels)
    assert same == {"auc": 0.0, "interval": [0.0, 0.0]}
    told = {"by_class": [210, 90], "better_by": found}
    assert "Training together was worth it here" in verdict(told)
    back = comparison.difference(strong, weak, labels)
    assert "trained alone is better" in verdict({"by_class": [210, 90], "better_by": back})
    assert "cannot tell" in verdict({"by_class": [210, 90], "better_by": same})
    few = comparison.difference(weak[:3], strong[:3], np.array([0, 0, 1]))
    assert "too few" in verdict({"by_class": [2, 1], "better_by": few})


@pytest.mark.parametrize("config", [private_config(), network_config()], ids=["head", "network"])
def test_what_is_compared_with_a_model_under_a_budget_is_trained_alone_without_one(config: Config) -> None:
    model = build(config.model, SHAPE, 2)
    site = SiteCases("a", cases(1, 60), cases(2, 20), cases(3, 20))
    local = comparison.train_alone(site, config, model, ("none", "some"), lambda *_: None)
    first = model.init(config.seeds[0])
    assert local.counts
    assert any(not np.array_equal(local.weights[name], first[name]) for name in first)
