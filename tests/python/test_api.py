"""The Python interface of a simulation, and the notebook that shows it, run as Jupyter would run it."""

import json
import linecache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError, PluginError
from simulation import api
from tests.house.documents import ROOT

SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"kind": "synthetic", "sites": 3, "cases": 40, "size": 16},
    "sites": {"split": "natural"},
    "model": {"kind": "svm"},
    "federation": {"rounds": 4},
    "baselines": ["local"],
}


def run_notebook(path: Path) -> dict[str, Any]:
    """Its code cells one after the other in one namespace; what they leave in it."""
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for place, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            source, name = "".join(cell["source"]), f"<cell {place}>"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            exec(compile(source, name, "exec"), namespace)  # noqa: S102
    return namespace


def test_the_notebook_runs_from_its_first_cell_to_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names = run_notebook(ROOT / "docs" / "python.ipynb")
    assert {row["approach"] for row in names["run"].table()} == {"local", "federated", "personalised", "pooled"}
    assert (names["folder"] / "rounds.png").stat().st_size > 5_000
    assert isinstance(names["own"].rounds()[-1]["notebook:youden"], float)
    step = names["own"].result["config"]["preprocess"][1]
    assert (step["part"]["plugin"], step["part"]["name"], step["power"]) == ("notebook", "brighter", 0.7)
    assert all(np.isfinite(array).all() for array in names["network"].weights().values())


def test_the_interface_gives_what_the_command_gives(tmp_path: Path) -> None:
    from simulate import main
    from tests.deployment.whole import written

    run = api.simulate(SMALL, {"federation.rounds": 3}, out=tmp_path / "api")
    assert main([str(written(tmp_path / "c.yaml", SMALL)), "federation.rounds=3", "--out", str(tmp_path / "cli")]) == 0
    other = api.read_run(tmp_path / "cli")
    assert run.result["seeds"][0]["weights_sha256"] == other.result["seeds"][0]["weights_sha256"]
    assert run.table() == other.table()
    assert [row["round"] for row in run.rounds()] == [0, 1, 2]


def test_what_is_wrong_is_said_as_the_command_says_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"federation\.rouns: unknown key; did you mean 'federation\.rounds'"):
        api.configure(SMALL, {"federation.rouns": 3})
    with pytest.raises(FileNotFoundError, match=r"no result\.json"):
        api.read_run(tmp_path)


def test_a_part_of_a_notebook_that_was_defined_anew_is_not_taken_for_the_old_one() -> None:
    def twice(stack: np.ndarray, *, by: float = 2.0) -> np.ndarray:
        return stack / np.float32(by)

    config = api.configure(SMALL, {"preprocess": [{"step": "plugin", "part": api.part("steps", twice)}]})
    stack = np.ones((1, 4, 4, 1), np.float32)
    assert config.preprocess[1].apply(stack)[0, 0, 0, 0] == 0.5

    def twice(stack: np.ndarray, *, by: float = 4.0) -> np.ndarray:  # type: ignore[no-redef]
        return stack / np.float32(by)

    api.part("steps", twice)
    with pytest.raises(PluginError, match="is another function now"):
        config.preprocess[1].apply(stack)
