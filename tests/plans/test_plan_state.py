"""What a site says of its plans: which wait, which are over, and what would be approved in vain."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from client.home import Home
from client.plans import commands, plan_state, sync
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.setup import plan_checks, preflight
from client.site_settings import enter_dataset, read
from common.cli.command import dispatch
from common.plans.plan import RunPlan
from server.gateway.site_api import FolderSiteApi
from server.runs import watch_commands as run_commands
from server.runs.run import Run
from tests.admitted import home_of
from tests.attacks.hospitals import SIX, SVM, Hospitals

HERE = SIX[0]


@pytest.fixture
def hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospitals:
    """Four hospitals; what the coordinator's board says is brought by hand, without a line."""
    hospitals = Hospitals(tmp_path, dict.fromkeys(SIX[:4], (30, 10)), SVM)

    def refresh(home: Home, *_: object) -> str:
        board = FolderSiteApi(hospitals.home).roster_and_plans(home.site)
        files = sync._take(home, board, sync.ignore)
        sync._note_stages(home, board["stages"], files)
        return ""

    monkeypatch.setattr(sync, "refresh", refresh)
    monkeypatch.setattr(sync, "send_decision", lambda home, decision: "")
    return hospitals


def put(run: Run, **changes: Any) -> None:
    run.write_state(replace(run.state, **changes))


def begin(hospitals: Hospitals, name: str) -> tuple[RunPlan, Run]:
    plan = hospitals.plan(f"name={name}", tree=SVM)
    return plan, Run.begin(hospitals.home, plan, 3600.0, {})


def test_plans_are_told_apart_and_check_looks_at_those_that_matter(
    hospitals: Hospitals, capsys: pytest.CaptureFixture[str]
) -> None:
    home, runs = hospitals.sites[HERE], {}
    for name in ("fresh", "finished", "failed", "without", "running", "refused"):
        plan, runs[name] = begin(hospitals, name)
        runs[name + " plan"] = plan
    put(runs["finished"], stage="finished", ended_s=2e9)
    put(runs["failed"], stage="failed", ended_s=2e9)
    put(runs["without"], stage="running", cohort=SIX[1:4])
    put(runs["running"], stage="running", cohort=SIX[:4])
    sync.refresh(home)
    decide(home, runs["refused plan"], "refuse", "no")
    decide(home, runs["running plan"], "approve", "")
    assert say(["plans", "--json", "--home", str(home.folder)]) == 0
    plans = {plan["name"].rsplit("-", 1)[0]: plan for plan in json.loads(capsys.readouterr().out)["plans"]}
    assert {name: plan["state"] for name, plan in plans.items()} == {
        "fresh": "undecided", "finished": "finished", "failed": "failed", "without": "begun without this site",
        "running": "running", "refused": "refused",
    }  # fmt: skip
    assert {name for name, plan in plans.items() if plan["open"]} == {"fresh", "running"}
    lines = [result.what for result in plan_checks.look_at_plans(home)]
    assert [line.split(",")[0].rsplit("-", 1)[0] for line in lines[:2]] == ["fresh", "running"]
    assert lines[2] == "besides 1 begun without this site, 1 failed, 1 finished, 1 refused"
    assert len(lines) == 3


def test_a_plan_that_the_coordinator_names_no_more_is_over(hospitals: Hospitals) -> None:
    home = hospitals.sites[HERE]
    plan, run = begin(hospitals, "gone")
    sync.refresh(home)
    assert plan_state.plan_state(home, plan).state == "undecided"
    put(run, stage="stopped", ended_s=1.0)  # so long ago that nobody says how it ended
    sync.refresh(home)
    assert plan_state.plan_state(home, plan).state == "over"
    assert plan_state.plan_state(home, plan, plan.content.expires_s + 1).state == "over"


def test_a_decision_that_the_coordinator_takes_no_more_keeps_no_other_from_it(hospitals: Hospitals) -> None:
    home, inbox = hospitals.sites[HERE], PlanInbox(hospitals.sites[HERE])
    (first, run), (second, _) = begin(hospitals, "first"), begin(hospitals, "second")
    sync.refresh(home)
    for plan in (first, second):
        decide(home, plan, "approve", "")
    put(run, stage="stopped", ended_s=2e9)
    line = SimpleNamespace(decision=lambda content: FolderSiteApi(hospitals.home).take_decision(HERE, content))
    assert "over" in sync._deliver_all(home, line, (first, second))
    assert (inbox.is_delivered(first), inbox.is_delivered(second)) == (False, True)


@pytest.mark.parametrize(
    ("stage", "what"),
    [
        ("without", "has begun without this site"),
        ("finished", "its run has finished"),
        ("histories", "two histories"),
        ("images", "no images"),
        ("shape", "expects 28×28×1"),
    ],
)
def test_approving_says_at_once_what_would_be_in_vain(
    hospitals: Hospitals, capsys: pytest.CaptureFixture[str], stage: str, what: str
) -> None:
    home = hospitals.sites[HERE]
    plan, run = begin(hospitals, "asked")
    if stage == "without":
        put(run, stage="running", cohort=SIX[1:4])
    if stage == "finished":
        put(run, stage="finished", ended_s=2e9)
    if stage == "histories":
        home.witness_refused.parent.mkdir(exist_ok=True)
        home.witness_refused.write_text("{}")
    if stage == "images":
        (home.folder / "images.npz").unlink()
        what = "images.npz"
    if stage == "shape":
        plan, _ = begin_smaller(hospitals)
        what = "expects 14×14×1"
    assert say(["approve", plan.name, "--home", str(home.folder)]) in (1, 2)
    assert what in capsys.readouterr().err
    assert PlanInbox(home).decision(plan) is None


def begin_smaller(hospitals: Hospitals) -> tuple[RunPlan, Run]:
    plan = hospitals.plan("name=smaller", "plan.shape=[14, 14, 1]", tree=SVM)
    return plan, Run.begin(hospitals.home, plan, 3600.0, {})


def say(words: list[str]) -> int:
    from common.audit.log import Act

    def acting(run: object) -> object:
        def wrapped(options: object) -> int:
            options.act, options.here = Act(), home_of(options.home)  # type: ignore[attr-defined]
            return run(options)  # type: ignore[operator, no-any-return]

        return wrapped

    own = {name: replace(command, run=acting(command.run)) for name, command in commands.COMMANDS.items()}  # type: ignore[arg-type]
    return dispatch("client", "", own, words)


def test_the_coordinator_s_lists_are_there_for_programs(
    hospitals: Hospitals, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(hospitals, "one")
    home = str(hospitals.home.folder)
    assert dispatch("server", "", run_commands.COMMANDS, ["status", "--json", "--home", home]) == 0
    status = json.loads(capsys.readouterr().out)
    assert {site["site"] for site in status["sites"]} == set(SIX[:4])
    assert status["run"]["stage"] == "waiting"
    assert dispatch("server", "", run_commands.COMMANDS, ["history", "--json", "--home", home]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["stage"], run["planned"]) == ("waiting", 30)


def test_check_is_there_for_programs(hospitals: Hospitals, capsys: pytest.CaptureFixture[str]) -> None:
    home = hospitals.sites[HERE]
    preflight.check_as_json(home)
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {"keys", "plans", "images"} <= {check["check"] for check in checks}
    assert all(set(check) == {"check", "ok", "what", "todo"} for check in checks)


@pytest.mark.parametrize(
    "text",
    [
        "site: lisbon\ndatasets: {}  # none yet\n#datasets:\n# chest: x\n\npolicy:\n  plans: ask  # mine\n",
        "site: lisbon\n# nothing else",
        "site: lisbon\ndatasets:\n  # ours\n  breast: {data: {kind: synthetic}}  # drawn\n",
        "datasets: # ours\n  breast:\n    data: {kind: synthetic}\nsite: lisbon\n",
    ],
)
def test_a_data_set_is_entered_and_all_other_lines_stay(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    before = read(path, text.encode())
    assert enter_dataset(path, "chest")
    after = path.read_text(encoding="utf-8")
    settings = read(path, after.encode())
    assert settings.datasets.keys() == before.datasets.keys() | {"chest"}
    assert settings.policy == before.policy
    assert all(line in after for line in text.splitlines() if "datasets" not in line)
    assert yaml.safe_load(after)["datasets"]["chest"] == {"data": {"kind": "encrypted", "path": "sets/chest"}}


@pytest.mark.parametrize("text", ["site: lisbon\ndatasets: {breast: {data: {kind: synthetic}}}\n"])
def test_what_cannot_be_told_is_left_to_its_engineer(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    assert not enter_dataset(path, "chest")
    assert path.read_text(encoding="utf-8") == text
