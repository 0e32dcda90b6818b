"""A run's figures for other tools: what TensorBoard, MLflow and a table get are the numbers of result.json."""

import csv
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from server.__main__ import main
from server.export.tracked_figures import tracked
from simulation import api
from simulation.api import SimulatedFigures

TREE: dict[str, Any] = {
    "name": "tracked",
    "data": {"kind": "synthetic", "sites": 3, "cases": 40, "size": 16},
    "sites": {"split": "natural"},
    "model": {"kind": "svm", "loss": "logistic"},
    "federation": {"rounds": 4},
    "baselines": ["local"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimulatedFigures:
    return api.simulate(TREE, out=tmp_path_factory.mktemp("runs") / "tracked")


def given(run: SimulatedFigures, *arguments: str) -> str:
    with redirect_stdout(io.StringIO()) as said:
        assert main(["figures", str(run.folder), *arguments]) == 0
    return said.getvalue()


def test_figures_have_the_names_that_scikit_learn_and_flower_have(run: SimulatedFigures) -> None:
    from sklearn import metrics

    by_tag = {(figure.tag, figure.step): figure.value for figure in tracked(run.result)}
    federated = run.result["sites"]["Lisbon"]["federated"]
    assert by_tag["sites/Lisbon/federated/roc_auc_score", 0] == federated["auc"]
    assert by_tag["sites_mean/local/log_loss", 0] == run.result["sites_mean"]["local"]["log_loss"]
    last = run.result["rounds"][-1]
    assert by_tag["evaluate_metrics_clientapp/eval_loss", last["round"]] == last["validation"]["loss"]
    assert by_tag["evaluate_metrics_clientapp/roc_auc_score", last["round"]] == last["validation"]["auc"]
    assert all(hasattr(metrics, name) for name in ("roc_auc_score", "log_loss", "accuracy_score", "recall_score"))


def test_a_table_holds_every_figure_in_full_digits(run: SimulatedFigures, tmp_path: Path) -> None:
    given(run, "--csv", str(tmp_path / "f.csv"))
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["tag"], int(r["step"]), float(r["value"])) for r in rows] == [
        (figure.tag, figure.step, figure.value) for figure in tracked(run.result)
    ]


def test_event_files_hold_the_same_numbers(run: SimulatedFigures, tmp_path: Path) -> None:
    given(run, "--tensorboard", str(tmp_path / "logs"))
    import tensorflow as tf

    (file,) = (tmp_path / "logs" / "tracked").iterdir()
    values = {}
    for record in tf.data.TFRecordDataset([str(file)]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        values |= {(v.tag, event.step): float(tf.make_ndarray(v.tensor)) for v in event.summary.value}
    assert values == {(f.tag, f.step): float(np.float32(f.value)) for f in tracked(run.result)}


@pytest.mark.filterwarnings("ignore:The ``noload``")  # MLflow, of its own tables
def test_an_mlflow_run_holds_the_same_numbers(
    run: SimulatedFigures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # where MLflow keeps the artifacts of a database
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    said = given(run, "--mlflow", uri)
    client = MlflowClient(uri)
    logged = client.get_run(said.split()[2])
    assert logged.data.params["model.loss"] == "logistic"
    for figure in tracked(run.result):
        history = {metric.step: metric.value for metric in client.get_metric_history(logged.info.run_id, figure.tag)}
        assert history[figure.step] == figure.value
    assert {one.path for one in client.list_artifacts(logged.info.run_id)} >= {"result.json", "report.html"}


def test_what_mlflow_does_not_take_is_told_in_its_words(
    run: SimulatedFigures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", str(run.folder), "--mlflow", f"{tmp_path.as_uri()}/mlruns"]) == 2
    assert "MLflow does not take the run: The filesystem tracking backend" in capsys.readouterr().err


def test_a_tool_that_is_not_named_gets_nothing(run: SimulatedFigures) -> None:
    from server.export.figure_commands import COMMANDS

    options = __import__("argparse").Namespace(
        home=Path("none"), run=str(run.folder), csv=None, tensorboard=None, mlflow=None
    )
    with pytest.raises(ConfigError, match="nowhere to give them"):
        COMMANDS["figures"].run(options)
