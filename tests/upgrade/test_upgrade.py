"""A running consortium is brought from the release before to this one, site after site, and then the coordinator."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.storage.files import read_json
from common.trust.release import VERSION
from server.consortium.home import Home
from server.runs.site_releases import describe_other
from tests.deployment import federation
from tests.deployment.federation import Federation
from tests.deployment.whole import SITES, SVM, InOneProcess, Willing, ended, simulated, until, written

pytestmark = pytest.mark.slow

BEFORE = "0.2.99"


class Mixed(Willing, InOneProcess, Federation):
    """A federation whose processes run from trees of different releases."""

    trees: dict[str, Path]

    def start(self, *names: str) -> None:
        for name in names or ("server", *self.sites):
            self.variables[name] = {"PYTHONPATH": str(self.trees[name])}
            self.place = self.trees[name]  # `-m` looks there first
            super().start(name)

    def move(self, name: str, tree: Path) -> None:
        """End a process in order, and start that of another release on the same folder."""
        self.processes[name].terminate()
        self.processes[name].wait(60)
        self.trees[name] = tree
        self.start(name)

    def release_of(self, site: str) -> str:
        """Which release the coordinator last heard that a site has."""
        return str((read_json(self.home / "live" / "doing" / f"{site}.json") or {}).get("release"))


def other_tree(folder: Path, version: str, change: Callable[[str], str], *paths: str) -> Path:
    """A copy of this tree under another version, some files changed."""
    for room in ("common", "client", "server"):
        shutil.copytree(federation.ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for path, edit in (
        ("common/trust/release.py", lambda text: text.replace(VERSION, version)),
        *((p, change) for p in paths),
    ):
        text = (folder / path).read_text(encoding="utf-8")
        assert edit(text) != text or version == VERSION
        (folder / path).write_text(edit(text), encoding="utf-8")
    return folder


def commented(text: str) -> str:
    return f"# as the release before said it\n{text}\n\n# and no more\n"


def test_three_sites_and_their_coordinator_are_upgraded_one_by_one_while_they_train(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = other_tree(
        tmp_path / "before",
        BEFORE,
        commented,
        "common/secagg/masks.py",
        "common/algorithms/solver.py",
        "client/training/site.py",
    )
    after = other_tree(tmp_path / "after", VERSION, commented)
    config = written(tmp_path / "config.yaml", model=SVM["model"] | {"C": 1.0})  # some 50 rounds
    consortium = Mixed(tmp_path, config, SITES)
    consortium.trees = dict.fromkeys(("server", *SITES), before)
    with ended(consortium):
        consortium.found()
        consortium.start()
        consortium.ready()
        run = consortium.submit()
        until(lambda: len(consortium.rounds(run)) >= 2)
        assert {consortium.release_of(site) for site in SITES} == {BEFORE}
        for name in (*SITES, "server"):
            assert consortium.state(run)["stage"] == "running", f"over before {name} was upgraded"
            consortium.move(name, after)
            rounds = len(consortium.rounds(run))
            until(lambda rounds=rounds: len(consortium.rounds(run)) > rounds + 1)
        assert consortium.wait(run, 150) == "finished", consortium.state(run)
        assert consortium.result(run)["weights_sha256"] == simulated(config)
        until(lambda: {consortium.release_of(site) for site in SITES} == {VERSION})
        assert (read_json(consortium.home / "release.json") or {})["release"] == VERSION
        assert (consortium.home / f"before-{VERSION}" / "flower" / "state.db").exists()

        # a release that decides numbers otherwise is told before anybody signs
        other = other_tree(
            tmp_path / "other", "0.4.0", lambda text: text.replace(" / ", " * ", 1), "common/algorithms/solver_steps.py"
        )
        consortium.move(SITES[1], other)
        until(lambda: consortium.release_of(SITES[1]) == "0.4.0")
        until(lambda: "0.4.0" in describe_other(Home(consortium.home), SITES))
        words = re.sub(r"\s+", " ", consortium.server("status"))
        assert f"The coordinator has release {VERSION}, {SITES[1]} release 0.4.0" in words
        assert "which cannot do its plans" in words
        runs = sorted(path.name for path in (consortium.home / "runs").iterdir())
        capfd.readouterr()
        with pytest.raises(AssertionError):
            consortium.server("run", str(config), "name=second", "--no-follow")
        assert re.search(f"{SITES[1]} has release 0.4.0 .*nothing was signed", capfd.readouterr().err)
        assert sorted(path.name for path in (consortium.home / "runs").iterdir()) == runs
        consortium.move(SITES[1], after)
        until(lambda: consortium.release_of(SITES[1]) == VERSION)
        until(lambda: describe_other(Home(consortium.home), SITES) == "")
