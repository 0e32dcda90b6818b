"""A federation as people run it: the commands of docs/deploy.md, then a year of its life in a minute.

The tests go on from each other, in this order, with the same processes.
"""

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from benchmarks.replay import weights_of
from server.__main__ import main as server
from server.consortium.home import Home
from server.processes.process_table import left_running
from server.runs.run import Run
from tests.admitted import home_of
from tests.deployment.federation import ROOT, SITES, Federation, free_port, run_in
from tests.deployment.whole import InOneProcess, until

pytestmark = pytest.mark.slow

SECTION, BLOCK = "## A rehearsal on one machine", re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CNN: dict[str, Any] = {
    "name": "rehearsal",
    "data": {"kind": "manifest", "path": "../images/list.csv", "labels": ["clear", "ill"]},
    "sites": {"split": "natural"},
    "model": {"kind": "cnn", "width": 4},
    "baselines": [],
    "personalise": {"mix": False},
    "federation": {"rounds": 3, "quorum": 3, "timeout_s": 60, "local": {"steps": 2, "batch": 8}},
    "privacy": "none",
    "plan": {"dataset": "chest", "labels": ["clear", "ill"], "shape": [16, 16, 1]},
}
SVM = [
    "name=vectors",
    "model={kind: svm, solver: lbfgs}",
    "federation={rounds: 6, quorum: 3, timeout_s: 20, select: last}",
]
COHORT = "plan.cohort=[site-1, site-2, site-3]"
NAMED = "patient-"
"""What the name of every image begins with, and of every patient."""


def draw(folder: Path) -> None:
    """Small images of three hospitals with names that are nobody's business, the ill ones with a bright spot."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir()
    with (folder / "images" / "list.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "site", "patient"])
        for number in range(240):
            picture = rng.integers(0, 80, (16, 16))
            picture[4:8, 4:8] += 90 * (number % 2)
            name = f"{NAMED}{number:03}"
            Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"{name}.png")
            rows.writerow([f"{name}.png", ("clear", "ill")[number % 2], SITES[number % 3], name])


class Lived(InOneProcess, Federation):
    """The folders and the processes that the documentation's commands have made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder / "configs" / "rehearsal.yaml", SITES, port=free_port())
        self.said = folder / "said"
        self.terminals: list[subprocess.Popen[bytes]] = []

    def type(self, script: str) -> None:
        """Into a shell, in a folder with this release."""
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        with self.said.open("ab") as out:
            terminal = subprocess.Popen(
                ["bash", "-e", "-c", script], cwd=self.folder, stdout=out, stderr=out, env=env, start_new_session=True,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.terminals.append(terminal)

    def finished_typing(self) -> int:
        """Once the shell has ended; what it left running goes on."""
        return self.terminals[-1].wait(180)

    def site(self, name: str) -> psutil.Process:
        """The process of a hospital, the only one."""
        (found,) = [p for p in self._running() if p.cmdline()[-4:] == ["client", "run", "--home", name]]
        return found

    def stop(self) -> None:
        """End everything that was started from the shell, and after it."""
        mine = self._running()
        for process in mine:
            process.send_signal(signal.SIGTERM)
        psutil.wait_procs(mine, 15)
        for process in [*self._running(), *left_running(self.home / "live" / "log")]:
            process.kill()
        for terminal in self.terminals:
            terminal.wait(10)
        super().stop()

    def _running(self) -> list[psutil.Process]:
        """All in the shells' sessions."""
        shells = {terminal.pid for terminal in self.terminals}
        return [p for p in psutil.process_iter() if _session(p.pid) in shells]

    def seen(self, *arguments: str) -> str:
        """What a command of the coordinator shows, whatever its exit status."""
        with redirect_stdout(StringIO()) as out:
            server([*arguments, "--home", str(self.home)])
        return out.getvalue()

    def asked(self, *overrides: str) -> str:
        """Submit a plan; the run's name."""
        return run_in(self.server("run", str(self.config), *overrides, "--no-follow"))

    def replayed(self, run: str) -> str:
        """What the weights are by the plan, what it carries, and who was in each sum, in this process."""
        return weights_of(Run.find(Home.at(self.home), run), {site: home_of(self.folder / site) for site in SITES})

    def joined(self, site: str, *new_keys: str) -> None:
        """From a request to a pinned welcome."""
        request, shown = str(self.folder / site / f"{site}.request"), self.client(site, "fingerprint", "--plain")
        self.server("admit", request, "--fingerprint", shown.strip(), *new_keys)
        welcome, shown = str(self.home / "welcomes" / f"{site}.welcome"), self.server("fingerprint", "--plain")
        self.client(site, "join", welcome, "--fingerprint", shown.strip())


def _session(process: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(process)
    return -1


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("lived")
    draw(folder)
    (folder / "simulate.py").symlink_to(ROOT / "simulate.py")
    (folder / "configs").mkdir()
    (folder / "configs" / "rehearsal.yaml").write_text(yaml.safe_dump(CNN), encoding="utf-8")
    federation = Lived(folder)
    try:
        yield federation
    finally:
        federation.stop()


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_the_documented_rehearsal_reaches_the_bits_of_the_simulation(lived: Lived) -> None:
    _, section = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").split(SECTION)
    rehearsal, comparison, *_ = BLOCK.findall(section)
    port = f"sed -i s/18000/{free_port()}/ consortium/consortium.yaml\n"
    lived.type(
        rehearsal.replace("8443", str(lived.port)).replace("python -m server start", port + "python -m server start")
    )
    assert lived.finished_typing() == 0, lived.said.read_text(encoding="utf-8")
    said = lived.said.read_text(encoding="utf-8")
    assert re.search(r"^Run rehearsal-[0-9a-f]{8}: asking site-1, site-2, site-3\.", said, re.MULTILINE)
    assert len(re.findall(r"^Plan rehearsal-[0-9a-f]{8}: approved\.$", said, re.MULTILINE)) == 3
    assert re.search(r"^round 3 of 3, validation AUC \d\.\d{3}, \d+\.\d s$", said, re.MULTILINE)
    assert re.search(r"^Finished: best round \d, validation AUC .* Research software", said, re.MULTILINE)

    lived.type(comparison)
    assert lived.finished_typing() == 0, lived.said.read_text(encoding="utf-8")
    found = re.findall(
        r"^(\S+?):.*\"weights_sha256\": \"([0-9a-f]{64})\"", lived.said.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(found) == 2
    assert len({weights for _, weights in found}) == 1


def test_a_second_run_on_what_the_first_has_summed_goes_on_without_a_member_that_refuses(lived: Lived) -> None:
    lived.client("site-4", "init", "site-4", "--rehearse", str(lived.config))
    lived.joined("site-4")
    run = lived.asked(*SVM)
    assert f"{run} waits for the decision of site-1, site-2, site-3, site-4, 24 h" in lived.seen("status")
    lived.client("site-4", "refuse", run, "--reason", "no vote of the ethics committee yet")
    for site in SITES:
        lived.approve(site, run)
    assert lived.wait(run, 400) == "finished"
    assert lived.result(run)["sites"] == list(SITES)
    assert lived.result(run)["weights_sha256"] == lived.replayed(run)
    status = lived.seen("status")
    assert all(re.search(rf"{site} +yes, \d+ (s|min)", status) for site in SITES)
    assert re.search(r"site-4 +yes, \d+ (s|min)", status)  # just now, to refuse
    assert "No run is going on." in status


def test_a_plan_that_two_of_four_approve_fails_and_says_so(lived: Lived) -> None:
    run = lived.asked(*SVM)
    for site, verdict in zip((*SITES, "site-4"), ("approve", "approve", "refuse", "refuse"), strict=True):
        lived.client(site, verdict, run)
    assert lived.wait(run, 400) == "failed"
    why = "2 of 4 sites approved, expected 3 at least."
    assert f"Run {run} failed: {why}" in lived.seen("follow", run)
    assert re.search(rf"{run} .* 4 +0 of 6 +– +failed: {why}", lived.seen("history"))


def test_a_run_whose_images_are_nowhere_waits_says_so_and_is_stopped(lived: Lived) -> None:
    settings = lived.folder / "site-1" / "site.yaml"
    content = settings.read_text(encoding="utf-8")
    try:
        run = lived.asked("name=nowhere", COHORT, *SVM[1:])
        lived.approve("site-1", run)
        settings.write_text(content.replace("list.csv", "gone.csv"), encoding="utf-8")
        for site in SITES[1:]:
            lived.approve(site, run)
        why = "error CONFIG there: the site's settings cannot be used; the site corrects `site.yaml`"
        waits = f"Run {run}: 0 of 6 rounds done. Waiting for site-1 ({why};"
        shown = until(lambda: waits in (said := lived.seen("status")) and f"part in {run} " in said and said)
        assert re.search(rf"site-1 +yes, .* cannot take part in {run} .* CONFIG", shown), shown
        lived.server("stop", run)
        assert lived.wait(run, 30) == "stopped"
        assert lived.rounds(run) == []
    finally:
        settings.write_text(content, encoding="utf-8")


def test_a_suspended_site_is_out_at_once_and_comes_back_with_new_keys(lived: Lived) -> None:
    lived.server("revoke", "site-3")
    before = lived.site("site-3")
    until(lambda: "suspended" in (lived.folder / "site-3" / "log.jsonl").read_text(encoding="utf-8"))
    assert "site-3" not in lived.seen("status")
    before.send_signal(signal.SIGTERM)
    before.wait(30)
    lived.client("site-3", "rekey")
    lived.joined("site-3", "--new-keys")
    lived.processes["site-3"] = subprocess.Popen(
        [sys.executable, "-m", "client", "run", "--home", str(lived.folder / "site-3")], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    run = lived.asked("name=again", COHORT, *SVM[1:])
    for site in SITES:
        lived.approve(site, run)
    assert lived.wait(run, 400) == "finished"
    assert lived.result(run)["weights_sha256"] == lived.replayed(run)


def test_a_site_is_one_process_that_begins_anew_at_rest_alone(lived: Lived) -> None:
    for name in ("site-1", "site-2"):
        assert not lived.site(name).children(recursive=True)
        log = (lived.folder / name / "log.jsonl").read_text(encoding="utf-8")
        assert log.count("takes part") == 1 + log.count("begins anew")  # all these runs, and the same process


def test_neither_an_image_s_name_nor_a_private_key_is_where_it_does_not_belong(lived: Lived) -> None:
    keys = [_secret((lived.folder / site / name).read_bytes()) for site in SITES for name in ("identity", "node")]
    root, there = _secret((lived.home / "root.key").read_bytes()), list(lived.home.rglob("*"))
    for site in SITES:
        there += [lived.folder / site / "log.jsonl", *(lived.folder / site / "plans").rglob("*")]
    files = {path: path.read_bytes() for path in there if path.is_file()}
    assert len(files) > 50
    assert not [path for path, content in files.items() if NAMED.encode() in content]
    assert not [path for path, content in files.items() for key in keys if key in content]
    assert [path.name for path, content in files.items() if root in content] == ["root.key"]
    assert NAMED.encode() not in lived.said.read_bytes()


def _secret(key: bytes) -> bytes:
    """The part of a private key's file that no other file has."""
    lines = [line for line in key.split(b"\n") if line and not line.startswith(b"-----")]
    return lines[-1][-40:]
