"""A finished run as one of MLflow's: settings as parameters, figures as metrics, the folder's files as artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from server.export.tracked_figures import TrackedFigure, settings

MOST_CHARACTERS = 500
"""Of a parameter's value, which MLflow cuts or refuses beyond."""
FILES = ("result.json", "report.html", "config.yaml", "model.safetensors")


def write_mlflow(uri: str, folder: Path, result: Mapping[str, Any], figures: Sequence[TrackedFigure]) -> str:
    """Log a run at a tracking URI; its id.

    Raises:
        ConfigError: MLflow is not installed, or does not take the run.
    """
    try:
        from mlflow import MlflowClient, MlflowException
    except ImportError:
        raise ConfigError(
            "MLflow is not installed: pip install mlflow-skinny (or this program's extra `mlflow`)."
        ) from None
    try:
        return _write(MlflowClient(uri), folder, result, figures)
    except MlflowException as error:
        raise ConfigError(f"--mlflow {uri}: MLflow does not take the run: {error}") from None


def _write(client: Any, folder: Path, result: Mapping[str, Any], figures: Sequence[TrackedFigure]) -> str:
    from mlflow.entities import Metric, Param, RunTag

    experiment = client.get_experiment_by_name(result["name"])
    where = experiment.experiment_id if experiment else client.create_experiment(result["name"])
    run: str = client.create_run(where, run_name=folder.resolve().name).info.run_id
    at_ms = int(folder.joinpath("result.json").stat().st_mtime * 1000)
    params = [Param(key, value[:MOST_CHARACTERS]) for key, value in settings(result["config"])]
    tags = [RunTag("release", result["release"]), RunTag("code", result["code"])]
    metrics = [Metric(figure.tag, figure.value, at_ms, figure.step) for figure in figures]
    for start in range(0, max(len(params), 1), 100):
        client.log_batch(run, params=params[start : start + 100], tags=tags)
    for start in range(0, len(metrics), 1000):
        client.log_batch(run, metrics=metrics[start : start + 1000])
    for name in FILES:
        if (folder / name).exists():
            client.log_artifact(run, str(folder / name))
    client.set_terminated(run)
    return run
