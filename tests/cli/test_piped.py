"""Commands that show names, typed by a script on a machine with a narrow terminal: names and reasons come whole."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.access.policy_store import policy_store
from server.runs.run import Run
from tests.cli.piping import ROOT, piped
from tests.consortium.consortium import SVM, Consortium

SITE = "Hospital-of-Our-Lady-of-the-Sea"
WHY = "nothing was trained, since [too few] of the sites that were asked had answered when their time was over."


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    folder = tmp_path_factory.mktemp("of a consortium whose folder has a name that is long, with blanks in it")
    return Consortium(folder, ("Lisbon", "Nairobi", SITE), tree=SVM | {"name": "pneumonia-of-children-and-adults"})


@pytest.fixture(scope="module")
def run(consortium: Consortium) -> Run:
    found = consortium.begun(consortium.plan(tree=SVM | {"name": "pneumonia-of-children-and-adults"}))
    found.end("failed", WHY)
    return found


def the_line(text: str, *words: str) -> str:
    """The one line that has all of these."""
    (found,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return found


@pytest.mark.parametrize("columns", ["20", "40", "80", "200"])
def test_the_history_of_a_coordinator(consortium: Consortium, run: Run, columns: str) -> None:
    said = piped("server", "history", "--home", consortium.home.folder, columns=columns)
    assert the_line(said, run.name).endswith(f"failed: {WHY}")


def test_how_a_run_ended(consortium: Consortium, run: Run) -> None:
    said = piped("server", "follow", run.name, "--home", consortium.home.folder, status=1)
    assert the_line(said, run.name) == f"Run {run.name} failed: {WHY}"


def test_the_state_of_every_site(consortium: Consortium) -> None:
    said = piped("server", "status", "--home", consortium.home.folder)
    assert "no, never heard" in the_line(said, SITE)
    assert the_line(said, "not running").endswith("python -m server start")


def test_the_plans_at_a_hospital(consortium: Consortium, run: Run) -> None:
    site = consortium.sites["Lisbon"].folder
    (site / "address").write_text("127.0.0.1:1\n", encoding="utf-8")  # nobody is there
    said = piped("client", "plans", "--home", site)
    assert the_line(said, run.name, " chest ").endswith("approved")
    assert run.plan.digest in piped("client", "plans", run.name, "--home", site)


def test_who_may_do_what_at_a_hospital(consortium: Consortium) -> None:
    policy = policy_store(consortium.sites["Lisbon"]).in_force()
    said = piped("client", "access", "show", "--home", consortium.sites["Lisbon"].folder)
    for person in policy.content.people:
        assert person.key in the_line(said, f" {person.name} ", ", ".join(person.roles))


def test_what_was_done_at_a_hospital(consortium: Consortium, run: Run) -> None:
    site = consortium.sites["Lisbon"]
    site.log.record("approve", plan=run.name, facts={"digest": run.plan.digest})
    assert run.plan.digest in the_line(piped("client", "audit", "show", "--home", site.folder), run.name, "approve")


def test_whether_a_site_and_a_data_set_are_ready(consortium: Consortium, tmp_path: Path) -> None:
    site = consortium.sites["Lisbon"].folder
    said = piped("client", "check", "--home", site, status=1)
    assert the_line(said, "keys: ").endswith(f"site Lisbon, {site}")
    folder = tmp_path / "the images of a hospital, in a folder with blanks and a name that is far longer than a line"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(folder / f"{i}.png")
    rows = [f"{i}.png,{'ill' if i % 2 else 'well'}" for i in range(8)]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows, "[gone].png,ill"]), encoding="utf-8")
    config = tmp_path / "c.yaml"
    config.write_text(f"name: t\ndata: {{kind: manifest, path: '{folder}/list.csv', cache: '{tmp_path}/cache'}}\n"
                      "sites: {split: iid, count: 2}\nmodel: {kind: svm}\n", encoding="utf-8")  # fmt: skip
    said = piped("client", "check", config, status=1)
    assert the_line(said, str(folder / "[gone].png"))
    assert the_line(said, "site-2 ")


@pytest.mark.parametrize(
    ("shell", "status", "what"),
    [
        ("{} check configs/demo.yaml >&-", 0, ""),
        ("{} check configs/demo.yaml >/dev/full", 2, "<stdout>: No space left on device"),
        ('mkdir -p $F/gone && cd $F/gone && rmdir $F/gone && {} check "$R"/configs/pneumonia.yaml', 2, "is gone"),
    ],
)
def test_where_output_or_working_folder_are_not_there_it_is_said(tmp_path, shell, status, what):
    command = shell.format(f"{shlex.quote(sys.executable)} -m client").replace("$F", '"$F"')
    env = {**os.environ, "PYTHONPATH": str(ROOT), "R": str(ROOT), "F": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, env=env, text=True)
    assert (done.returncode, what in done.stderr, "Traceback" in done.stderr) == (status, True, False), done.stderr
