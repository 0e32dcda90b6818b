"""What tests of a whole federation share: small runs, commands without a process each, an end to every process."""

import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from client.__main__ import main as client
from common.storage.files import read_json
from server.__main__ import main as server
from server.processes.process_table import left_running
from simulate import main as simulate
from tests.consortium.consortium import LEAST
from tests.deployment.federation import Federation

SITES = ("Lisbon", "Nairobi", "Osaka")
MAINS = {"server": server, "client": client}
SVM: dict[str, Any] = {
    "name": "small",
    "data": {"kind": "synthetic", "sites": 3, "cases": 24, "size": 16},
    "sites": {"split": "natural"},
    "model": {"kind": "svm", "solver": "lbfgs", "C": 0.1},
    "baselines": [],
    "personalise": {"mix": False},
    "federation": {"rounds": 100, "quorum": 3, "timeout_s": 5, "select": "last", "evaluate_every": 100},
    "privacy": "none",
    "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [16, 16, 1]},
}
"""28 rounds of a quarter of a second; the descent ends in the same bits however many rounds on its way were void."""

T = TypeVar("T")


class InOneProcess:
    """Over a `Federation`: its commands are called here, for a process each would cost a second each."""

    def _command(self, who: str, *arguments: str) -> str:
        with redirect_stdout(io.StringIO()) as said:
            status = MAINS[arguments[0]](arguments[1:])
        assert status == 0, f"{arguments}: {status}\n{said.getvalue()}"
        return said.getvalue()


class Willing:
    """Over a `Federation`: its sites approve every plan that fits, by their own rules; nobody has to type it."""

    folder: Path
    sites: tuple[str, ...]

    def found(self) -> None:
        super().found()  # type: ignore[misc]
        for site in self.sites:
            settings = self.folder / site / "site.yaml"
            rules = f"  least: {json.dumps(LEAST)}\n  plans: approve "
            text = settings.read_text(encoding="utf-8").replace("  plans: ask ", rules)
            settings.write_text(text, encoding="utf-8")

    def approve(self, site: str, name: str) -> None:
        """Nothing has to be typed."""


class Quick(Willing, InOneProcess, Federation):
    """A federation whose processes are its own, and whose commands are not."""


@contextmanager
def ended(federation: Federation) -> Iterator[None]:
    """Whatever happens, at the end no process of the federation is left."""
    try:
        yield
    finally:
        federation.stop()
        for process in left_running(federation.home / "live" / "log"):  # of a coordinator that was killed
            with suppress(psutil.NoSuchProcess):
                process.kill()


def written(path: Path, tree: dict[str, Any] = SVM, **sections: Any) -> Path:
    """A configuration as a file, with sections put in the place of its own."""
    path.write_text(yaml.safe_dump(tree | sections), encoding="utf-8")
    return path


def simulated(config: Path, *overrides: str) -> str:
    """What the weights would be, as SHA-256, if all were one process."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        assert simulate([str(config), *overrides, "--out", folder]) == 0
        result = read_json(Path(folder) / "result.json")
    (seed,) = result["seeds"]
    return str(seed["weights_sha256"])


def until(true: Callable[[], T], within_s: float = 200.0) -> T:
    """Wait for something; what it was."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return found
