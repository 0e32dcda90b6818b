"""A wheel that somebody else wrote runs in a simulation, under masks, and stands in its result with its digest."""

import csv
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from common import config as configuration
from common.errors import ConfigError, PluginError
from common.metrics import performance, plugin_metric
from common.plugins import Part, find_plugin
from common.storage.files import read_json
from simulate import main as simulate
from tests.deployment.whole import written
from tests.plugin.conftest import NAME

OWN: dict[str, Any] = {
    "name": "own",
    "data": {"kind": "synthetic", "sites": 3, "cases": 40, "size": 16},
    "sites": {"split": "natural"},
    "preprocess": [{"step": "plugin", "part": f"{NAME}:gamma", "value": 0.5}],
    "model": {"kind": "plugin", "part": f"{NAME}:small", "filters": 4},
    "federation": {
        "rounds": 2, "quorum": 3, "strategy": "plugin", "part": f"{NAME}:adagrad",
        "local": {"steps": 3, "learning_rate": 0.01},
    },
    "metrics": [f"{NAME}:kappa"],
    "baselines": [],
    "personalise": {"mix": False},
    "privacy": "none",
    "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [16, 16, 1]},
}  # fmt: skip


def result_of(folder: Path, tree: dict[str, Any], *overrides: str) -> dict[str, Any]:
    out = folder / f"run{len(list(folder.iterdir()))}"
    with redirect_stdout(io.StringIO()):
        assert simulate([str(written(folder / "config.yaml", tree)), *overrides, "--out", str(out)]) == 0
    return dict(read_json(out / "result.json"))


def test_all_four_parts_run_and_masks_do_not_change_the_figures(on_path: Path, tmp_path: Path) -> None:
    result, clear = result_of(tmp_path, OWN), result_of(tmp_path, OWN, "federation.secure=false")
    part = {"plugin": NAME, "name": "small", "version": "1.0", "sha256": find_plugin(NAME).sha256}
    assert result["config"]["model"] == {"kind": "plugin", "multilabel": False, "part": part, "filters": 4}
    assert result["config"]["preprocess"][1]["value"] == 0.5
    assert result["secure_aggregation"]["on"]
    figures, in_the_clear = (run["rounds"][-1]["validation"] for run in (result, clear))
    assert figures["loss"] == pytest.approx(in_the_clear["loss"], abs=1e-4)
    assert isinstance(figures[f"{NAME}:kappa"], float)
    other = result_of(tmp_path, OWN, "federation.strategy=fedavg", "federation.part=null")
    assert other["seeds"][0]["weights_sha256"] != result["seeds"][0]["weights_sha256"]


def test_a_metric_stands_among_the_finished_models_figures_at_its_operating_point(
    on_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = OWN | {"baselines": ["local"], "seeds": [1]}
    assert simulate([str(written(tmp_path / "config.yaml", tree)), "--out", str(tmp_path / "run")]) == 0
    result, metric = dict(read_json(tmp_path / "run" / "result.json")), f"{NAME}:kappa"
    with (tmp_path / "run" / "seed-1" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    point = result["seeds"][0]["thresholds"]["federated"]

    def kappa(cases: list[dict[str, str]]) -> float:
        truth, called = (
            [case["label"] == "disease" for case in cases],
            [float(case["federated"]) > point for case in cases],
        )
        return float(cohen_kappa_score(truth, called))

    for site in result["sites"]:
        found = result["sites"][site]["federated"][metric]
        assert found == pytest.approx(kappa([row for row in rows if row["site"] == site]))
    assert result["test"]["federated"][metric] == pytest.approx(kappa(rows))
    assert result["counts"]["test"]["federated"]["figures"][metric] == pytest.approx(kappa(rows))
    assert isinstance(result["counts"]["validation"]["figures"][metric], float)
    assert isinstance(result["sites_mean"]["local"][metric], float)
    assert f"{metric} on test cases" in capsys.readouterr().out
    assert f"{metric} on test cases, at the operating point" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_a_metric_of_summed_counts_is_that_of_all_cases(on_path: Path) -> None:
    random = np.random.default_rng(1)
    labels, logits = random.integers(0, 3, 90), random.normal(size=(90, 3)).astype(np.float32)
    parts = [performance.count(logits[some], labels[some]) for some in (slice(0, 20), slice(20, 90))]
    summed = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    metric = Part.model_validate(f"{NAME}:kappa").settled()
    figure = plugin_metric.figures([metric], summed)[f"{NAME}:kappa"]
    assert figure == pytest.approx(cohen_kappa_score(labels, logits.argmax(axis=1)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.filters=many", "filters: Input should be a valid integer"),
        ("model.width=4", "width: Extra inputs are not permitted. Its settings are: filters"),
        (f"model.part={NAME}:large", "has no large among its models; it has: small"),
        ("model.part=consilium-absent:small", "plug-in consilium-absent is not installed here"),
        (f"metrics=[{{plugin: {NAME}, name: kappa, sha256: {'0a' * 32}}}]", "is expected with digest 0a0a"),
    ],
)
def test_what_a_plugin_does_not_take_is_said_before_the_run(
    on_path: Path, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        configuration.load(written(tmp_path / "config.yaml", OWN), [override])


def test_a_strategy_needs_its_part_and_no_other_has_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="strategy plugin, and it alone, has a part"):
        configuration.load(written(tmp_path / "config.yaml", OWN), ["federation.part=null"])


@pytest.mark.parametrize("code", ["return stack[:, ::2]", "return stack * np.nan", "raise ValueError(stack.shape)"])
def test_a_step_that_makes_something_else_of_an_image_is_named(on_path: Path, tmp_path: Path, code: str) -> None:
    file = on_path / "consilium_example" / "steps.py"
    file.write_text(file.read_text("utf-8").replace("return np.clip", f"{code}\n    return np.clip"), "utf-8")
    config = configuration.load(written(tmp_path / "config.yaml", OWN))
    with pytest.raises(PluginError, match=f"{NAME}:gamma (made|raised)"):
        config.preprocess[1].apply(np.ones((2, 4, 4, 1), np.float32))


def test_a_network_that_keeps_batch_statistics_is_refused(on_path: Path, tmp_path: Path) -> None:
    file = on_path / "consilium_example" / "models.py"
    text = file.read_text("utf-8").replace(
        "    return keras.Model", "    x = layers.BatchNormalization()(x)\n    return keras.Model"
    )
    file.write_text(text, "utf-8")
    config = configuration.load(written(tmp_path / "config.yaml", OWN))
    from common.models import build

    with pytest.raises(PluginError, match="is state beside the weights"):
        build(config.model, (16, 16, 1), 2)
