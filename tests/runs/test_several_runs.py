"""Several runs at once: which may begin, what a waiting one says, and who is not asked."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.plans.decision import Commitment, Decision, members_digest
from common.plans.plan import RunPlan
from common.storage.files import write_json
from server.__main__ import main as server
from server.app import share_of
from server.gateway.site_api import FolderSiteApi
from server.runs.run import Run
from server.runs.status import describe_run, live_runs, status_as_json
from server.service.scheduler import Scheduler
from server.service.turns import Turns, shares
from tests.consortium.consortium import SVM, Consortium, config_of

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # of Flower's bundling
NAMES = ("Hanoi", "Lisbon", "Nairobi", "Osaka")


class Flower:
    """A SuperLink that takes every run and never begins one: what `ControlApi` is asked by the scheduler."""

    def __init__(self) -> None:
        self.submitted: list[str] = []

    def nodes(self) -> dict[bytes, Any]:
        return {}

    def register(self, key: str) -> int:
        return hash(key)

    def submit(self, bundle: bytes, settings: dict[str, str]) -> int:
        self.submitted.append(settings["plan"])
        return len(self.submitted)

    def runs(self) -> dict[int, str]:
        return {number + 1: "running" for number in range(len(self.submitted))}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(tmp_path_factory.mktemp("several"), NAMES)


@pytest.fixture
def consortium(founded: Consortium, tmp_path: Path) -> Consortium:
    shutil.copytree(founded.folder, tmp_path / "life")
    return founded.at(tmp_path / "life")


Asked = Callable[..., Run]


@pytest.fixture
def ask(consortium: Consortium) -> Asked:
    """Draw up a plan on a data set of its own, with some approvals of it."""

    def run(
        dataset: str, cohort: tuple[str, ...] = NAMES, approving: tuple[str, ...] | None = None, wait_s: float = 0.0
    ) -> Run:
        terms = SVM["plan"] | {"dataset": dataset, "cohort": list(cohort)}
        config = config_of(consortium.folder, SVM | {"name": dataset, "plan": terms})
        plan = RunPlan.from_config(config, consortium.home.roster, consortium.roots)
        begun = Run.begin(consortium.home, plan, wait_s)
        for site in cohort if approving is None else approving:
            decide(consortium, begun, site)
        return begun

    return run


def decide(consortium: Consortium, run: Run, site: str) -> None:
    commitment = Commitment(members_digest(run.plan, consortium.home.roster), "0" * 64, fits=("statistics",))
    decision = Decision.make(site, run.plan, "approve", "", consortium.sites[site].identity, commitment)
    FolderSiteApi(consortium.home).take_decision(site, decision.document.to_json())


def report(consortium: Consortium, site: str, runs: int) -> None:
    content = {"what": "idle", "detail": "", "error": "", "ready": [], "runs": runs}
    FolderSiteApi(consortium.home).take_activity(site, content)


def stages(*runs: Run) -> list[str]:
    return [run.state.stage for run in runs]


# --- whose turn it is -----------------------------------------------------------------------------------------------


def test_at_no_site_more_than_it_takes_and_no_newer_run_overtakes_for_ever() -> None:
    turns = Turns([("a", "b", "c")], {"a": 1, "b": 2, "c": 2, "d": 2, "e": 1})
    assert turns.take(("a", "b", "d")) == ("a",)
    assert turns.take(("b", "c", "d")) == ("b",)  # the one before it keeps its place at b
    assert turns.take(("c", "d", "e")) == ("c", "d")
    assert Turns([], {}).take(("a",)) == ()
    assert shares({"one": ("a", "b"), "two": ("b", "c"), "three": ("b",), "four": ("d",)}) == {
        "one": 3, "two": 3, "three": 3, "four": 1,
    }  # fmt: skip


def test_three_runs_begin_beside_each_other(consortium: Consortium, ask: Asked) -> None:
    runs = ask("chest"), ask("hands"), ask("feet", NAMES[:3])
    scheduler = Scheduler(consortium.home, flower := Flower())  # type: ignore[arg-type]
    scheduler.turn()
    assert stages(*runs) == ["running"] * 3
    assert flower.submitted == [run.plan.digest for run in runs]
    assert [share_of(consortium.home, run.name) for run in runs] == [3, 3, 3]


def test_a_run_that_waits_for_people_or_for_a_site_that_is_away_keeps_none_waiting(
    consortium: Consortium, ask: Asked
) -> None:
    for site in NAMES:
        report(consortium, site, 1)
    undecided, stuck = ask("chest", approving=("Hanoi",), wait_s=3600), ask("hands")
    scheduler = Scheduler(consortium.home, Flower())  # type: ignore[arg-type]
    scheduler.turn()
    assert stages(undecided, stuck) == ["waiting", "running"]
    later, latest = ask("feet"), ask("knees")
    scheduler.turn()
    assert stages(later, latest) == ["waiting", "waiting"]
    assert f"waits for its turn: {', '.join(NAMES)} take no more at once" in describe_run(later)
    assert f"{stuck.name} goes before" in describe_run(later)
    stuck.write_missing(["Osaka"])
    scheduler.turn()
    assert stages(later, latest) == ["running", "waiting"]
    later.end("finished")
    scheduler.turn()
    assert stages(latest) == ["running"]
    assert share_of(consortium.home, latest.name) == 1


@pytest.mark.parametrize("limit", [0, 101, "2", True, 1.5])
def test_a_limit_that_is_none_is_refused(limit: object, consortium: Consortium) -> None:
    with pytest.raises(Exception, match="'runs': expected how many runs the site takes at once, 1 to 100"):
        report(consortium, "Osaka", limit)  # type: ignore[arg-type]


# --- what a waiting run says ----------------------------------------------------------------------------------------


def test_what_waiting_means_is_said_truly(consortium: Consortium, ask: Asked) -> None:
    run = ask("chest", approving=("Hanoi", "Lisbon"), wait_s=3 * 3600 + 30)
    words = describe_run(run)
    assert f"Run {run.name} waits for the decision of Nairobi, Osaka, 3 h at most; " in words
    assert "then it begins if 3 have approved (2 have)" in words
    assert f"python -m server run {run.name} --start-now" in words
    run.write_state(replace(run.state, begin_at_s=time.time() - 60))  # the time is over, and too few approved
    words = describe_run(run)
    assert "at most" not in words
    assert "2 of 4 approved, 3 needed; until the plan expires, in " in words
    decide(consortium, run, "Nairobi")
    assert "begins with those who approved" in describe_run(run)
    scheduler = Scheduler(consortium.home, Flower())  # type: ignore[arg-type]
    scheduler.turn()
    assert (run.state.stage, run.state.cohort) == ("running", ("Hanoi", "Lisbon", "Nairobi"))


def test_a_run_starts_at_once_when_told_and_not_with_too_few(consortium: Consortium, ask: Asked) -> None:
    run = ask("chest", approving=("Hanoi", "Lisbon"), wait_s=3600)
    home = str(consortium.home.folder)
    assert server(["run", run.name, "--start-now", "--no-follow", "--home", home]) == 0
    scheduler = Scheduler(consortium.home, Flower())  # type: ignore[arg-type]
    scheduler.turn()
    assert run.state.stage == "waiting"
    decide(consortium, run, "Osaka")
    scheduler.turn()
    assert (run.state.stage, run.state.cohort) == ("running", ("Hanoi", "Lisbon", "Osaka"))
    assert server(["run", run.name, "--start-now", "--no-follow", "--home", home]) == 2  # it runs


def test_a_run_whose_site_is_gone_says_what_would_let_it_go_on(consortium: Consortium, ask: Asked) -> None:
    run = ask("chest")
    run.write_state(replace(run.state, stage="running", cohort=NAMES))
    run.write_missing(["Osaka"])
    words = describe_run(run)
    assert "Osaka (never heard" in words
    assert "every sum of it is over all of its sites" in words
    assert f"If Osaka is gone for good: `python -m server stop {run.name}`, then `python -m server run" in words
    assert "--without Osaka`, which carries what was summed" in words


def test_status_names_every_run(consortium: Consortium, ask: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    waiting, running = ask("chest", approving=("Hanoi",), wait_s=3600), ask("hands")
    running.write_state(replace(running.state, stage="running", cohort=NAMES))
    assert [run.name for run in live_runs(consortium.home)] == [running.name, waiting.name]
    told = status_as_json(consortium.home)
    assert [one["name"] for one in told["runs"]] == [running.name, waiting.name]
    assert told["run"] == told["runs"][0]
    assert server(["status", "--home", str(consortium.home.folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Run {running.name}: 0 of 4 rounds done" in shown
    assert f"Run {waiting.name} waits for the decision of" in shown


def test_a_site_is_not_asked_where_it_is_left_out(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_of(tmp_path, SVM)
    write_json(consortium.home.live / "keeper.json", {"at_s": 0})
    command = [
        "run",
        str(tmp_path / "config.yaml"),
        "--home",
        str(consortium.home.folder),
        "--no-follow",
        "--start-now",
    ]
    assert server([*command, "--without", "Osaka"]) == 0
    run = Run.find(consortium.home)
    assert run.plan.content.cohort == ("Hanoi", "Lisbon", "Nairobi")
    assert run.state.begin_at_s <= time.time()
    assert server([*command, "--without", "Oslo"]) == 2
    assert "--without Oslo: expected one of Hanoi, Lisbon, Nairobi, Osaka" in capsys.readouterr().err
