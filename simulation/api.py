"""Simulations from Python, for notebooks and scripts: configure, simulate, read what came out. docs/python.md

from simulation import api
run = api.simulate("configs/demo.yaml", {"federation.rounds": 3})
pandas.DataFrame(run.table())
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console

from common.algorithms.strategies import Strategy
from common.config import Config, from_tree, lay_over, load
from common.plugins import Part, notebook_parts
from common.storage import tensorfile
from common.storage.files import read_json
from common.storage.run_folder import run_folder
from common.types import Tensors, under
from server.results.result_json import APPROACHES
from simulation import seeds

NOTHING: Mapping[str, Any] = {}
Source = str | Path | Mapping[str, Any] | Config
"""A YAML file, the same as a dictionary, or a configuration that was read before."""


def configure(source: Source, overrides: Mapping[str, Any] = NOTHING) -> Config:
    """A checked configuration.

    Args:
        overrides: by dotted key, laid over it: `{"federation.rounds": 3, "model": {"kind": "svm"}}`.

    Raises:
        ConfigError, PluginError: naming the key, and what was expected.
    """
    texts = [f"{key}={json.dumps(_plain(value))}" for key, value in overrides.items()]
    if isinstance(source, str | Path):
        return load(source, texts)
    tree = source.model_dump(mode="json") if isinstance(source, Config) else copy.deepcopy(dict(source))
    tree = _plain(tree)
    for text in texts:
        lay_over(tree, text)
    return from_tree(tree, Path.cwd() / "configuration")


def simulate(
    source: Source, overrides: Mapping[str, Any] = NOTHING, *, out: str | Path | None = None, resume: bool = False,
    quiet: bool = True,
) -> "SimulatedFigures":  # fmt: skip
    """Simulate, as `python simulate.py` does, and read what came out.

    Args:
        out: folder for the results; none: runs/NAME.
        resume: go on with an interrupted run in that folder.
        quiet: no line a round.

    Raises:
        ConsiliumError: saying what is wrong, what was expected, and what to do.
    """
    config = configure(source, overrides)
    with run_folder(Path(out) if out else None, config.name, resume) as folder:
        seeds.simulate(config, folder, Console(quiet=quiet))
    return read_run(folder)


def read_run(folder: str | Path) -> "SimulatedFigures":
    """A run that was simulated before.

    Raises:
        FileNotFoundError: there is no result.json in the folder.
    """
    if (result := read_json(Path(folder) / "result.json")) is None:
        raise FileNotFoundError(f"{folder}: no result.json; expected the folder of a finished run.")
    return SimulatedFigures(Path(folder), result)


def part(
    kind: Literal["steps", "models", "strategies", "metrics"], value: Callable[..., Any] | Strategy
) -> dict[str, Any]:
    """A function of this notebook, or a `Strategy`, as a configuration names it; nothing is installed.

        {"kind": "plugin", "part": api.part("models", my_network), "filters": 8}

    It lives in this process alone: what others are to have becomes a wheel (docs/extending.md).
    """
    function = value.step if isinstance(value, Strategy) else value
    name = function.__name__
    sha256 = notebook_parts.keep_part(kind, name, value, function)
    return Part(plugin=notebook_parts.PLUGIN, name=name, version="here", sha256=sha256).model_dump(mode="json")


@dataclass(frozen=True)
class SimulatedFigures:
    """What a simulation left in its folder."""

    folder: Path
    result: Mapping[str, Any]
    """The content of result.json: docs/results.md."""

    def table(self) -> list[dict[str, Any]]:
        """A row for each site and way of training: site, approach, and its figures on the site's test cases."""
        return [
            {"site": site, "approach": approach, **_numbers(figures[approach])}
            for site, figures in self.result["sites"].items()
            for approach in APPROACHES
            if approach in figures
        ]

    def rounds(self) -> list[dict[str, Any]]:
        """A row for each federated round: seed, round, training loss, and its validation figures."""
        return [
            {"seed": r["seed"], "round": r["round"], "train_loss": r["train_loss"], **r["validation"]}
            for r in self.result["rounds"]
        ]

    def weights(self) -> Tensors:
        """The federated model of the first seed: arrays by name."""
        return under("weights", tensorfile.load(self.folder / "model.safetensors")[0])


def _numbers(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if value is None or isinstance(value, int | float)}


def _plain(value: Any) -> Any:
    """As YAML would have it: tuples as lists, parts as sections."""
    return yaml.safe_load(json.dumps(value, default=lambda other: other.model_dump(mode="json")))
