"""A coordinator that was taken over sends code, orders of its own, and plans that the roots have not signed.

It has all but the root key: the SuperLink, the gateway, the board. The hospitals are real processes.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid

from client.__main__ import main as client
from client.home import Home as Hospital
from client.plans.inbox import PlanInbox
from common.messages.transport import Request
from common.plans.plan import RunPlan
from common.trust.roster import Roster, load_verified_roster
from server.gateway.site_api import FolderSiteApi
from server.superlink.exchange_progress import ExchangeProgress
from server.superlink.flower_transport import FlowerTransport, ask
from tests.admitted import home_of
from tests.consortium.consortium import SVM, config_of
from tests.deployment.whole import until
from tests.gateway.running_gateway import Door

ROOT, NAMES = Path(__file__).parents[2], ("Lisbon", "Nairobi")
PROJECT = b"""
[project]
name = "hostile"
version = "1.0.0"
dependencies = ["flwr==1.42.0"]
[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "hostile:app"
clientapp = "hostile:app"
"""
PRESENT = Request("secagg/present", 0)


@pytest.fixture(scope="module")
def sites(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hospital]]:
    """Two hospitals as they run."""
    folder, processes, found = tmp_path_factory.mktemp("hospitals"), [], {}
    try:
        for name in NAMES:
            door.goodbye(name)  # of another test's process
            home = Path(shutil.copytree(door.consortium.sites[name].folder, folder / name))
            (home / "address").write_text(door.address, encoding="utf-8")
            with (folder / f"{name}.out").open("wb") as out:
                command = [sys.executable, "-m", "client", "run", "--home", str(home)]
                processes.append(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out))
            found[name] = home_of(home)
        yield found
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(20)


def waited() -> int:
    """A moment."""
    time.sleep(0.05)
    return 0


def there(grid: Grid, door: Door, sites: dict[str, Hospital]) -> dict[str, int]:
    """The hospitals' nodes, once their processes are online."""
    ids = {name: door.nodes[name] for name in NAMES}
    until(lambda: all((site.folder / "journal" / "node").exists() for site in sites.values()))
    until(lambda: set(ids.values()) <= set(grid.get_node_ids()))
    return ids


def everybody(door: Door) -> Roster:
    """The roster when all three were members, so that a plan can be for them."""
    rosters = [
        load_verified_roster(path.read_bytes(), door.home.pins) for path in (door.home.folder / "rosters").glob("0*")
    ]
    return max((roster for roster in rosters if len(roster.active) == 3), key=lambda roster: roster.version)


def a_plan(door: Door, folder: Path) -> RunPlan:
    """One that the roots have signed."""
    return RunPlan.from_config(config_of(folder), everybody(door), door.consortium.roots)


@pytest.fixture
def shown(door: Door, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the board show these plans to everybody."""

    def show(*papers: bytes) -> None:
        told = FolderSiteApi(door.home).roster_and_plans("Lisbon") | {"plans": [paper.decode() for paper in papers]}
        monkeypatch.setattr(door.site_api, "roster_and_plans", lambda site: told)

    return show


def typed(site: Hospital, *arguments: str) -> int:
    return client([*arguments, "--home", str(site.folder)])


# --- code -----------------------------------------------------------------------------------------------------------


def test_no_code_that_a_coordinator_sends_is_executed_or_even_kept(
    door: Door, sites: dict[str, Hospital], tmp_path: Path
) -> None:
    trace = tmp_path / "executed"
    code = (
        f"from pathlib import Path\nPath({str(trace)!r}).write_text('by whoever imports this')\napp = None\n".encode()
    )
    names = ("hostile.py", "sitecustomize.py", "client/__init__.py", "client/app.py", "common/__init__.py")
    files = {"pyproject.toml": PROJECT, "README.md": b"Harmless.\n"} | dict.fromkeys(names, code)
    for name, content in files.items():
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_bytes(content)
    subprocess.run([sys.executable, "-c", "import hostile"], cwd=tmp_path / "unpacked", check=True)
    assert trace.exists()  # so it would be seen
    trace.unlink()

    with door.as_coordinator.run(files) as grid:
        ids = there(grid, door, sites)
        for kind in ("query.answer", "train", "evaluate.anything"):
            orders = {
                node: RecordDict({"message": ConfigRecord({"plan": "hostile", "bytes": code})}) for node in ids.values()
            }
            told = dict(ask(grid, kind, orders, 120.0, lambda _: waited()))
            assert set(told) == set(ids.values())
            assert all(message.has_error() for message in told.values())
            assert not any(str(trace) in str(message.error.reason) for message in told.values())
    assert not trace.exists()
    for site in sites.values():
        assert not [path for path in site.folder.rglob("*") if path.is_file() and PROJECT in path.read_bytes()]


# --- messages -------------------------------------------------------------------------------------------------------


def test_messages_of_a_plan_are_answered_while_it_is_approved_and_not_before_or_after(
    door: Door, sites: dict[str, Hospital], shown: Callable[..., None], tmp_path: Path
) -> None:
    plan, lisbon = a_plan(door, tmp_path), sites["Lisbon"]
    shown(plan.document.encode())
    with door.as_coordinator.run() as grid:
        ids = there(grid, door, sites)

        def refused(digest: str) -> dict[str, str]:
            """Every site's answer is a refusal, or is not in here."""
            progress = list[ExchangeProgress]()
            transport = FlowerTransport(grid, ids, digest, on_progress=progress.append)
            answered = [site for site, _ in transport.exchange(dict.fromkeys(NAMES, PRESENT), 30.0)]
            assert set(answered) | set(progress[-1].refused) == set(NAMES)
            return dict(progress[-1].refused)

        nobody = dict.fromkeys(NAMES, "PLAN")
        for site in sites.values():
            assert typed(site, "plans", plan.name) == 0
        assert refused(plan.digest) == refused("") == refused("../identity") == refused("0" * 64) == nobody
        assert typed(lisbon, "approve", plan.name) == 0
        assert refused(plan.digest) == {"Nairobi": "PLAN"}
        assert typed(lisbon, "refuse", plan.name) == 0
        assert refused(plan.digest) == nobody


# --- plans ----------------------------------------------------------------------------------------------------------


def forged(door: Door, folder: Path) -> dict[str, bytes]:
    """Plans that the roots have not signed, each under a name of its own."""
    made: dict[str, bytes] = {}
    for name, key in (
        ("anothers-root", Ed25519PrivateKey.generate()),
        ("a-members", door.consortium.sites["Lisbon"].identity),
    ):
        plan = RunPlan.from_config(config_of(folder, SVM | {"name": name}), everybody(door), [key])
        made[name] = plan.document.encode()
    for name, change in (("changed", {"rounds": 99}), ("unmasked", {"secure": False})):
        told = json.loads(
            RunPlan.from_config(
                config_of(folder, SVM | {"name": name}), everybody(door), door.consortium.roots
            ).document.encode()
        )
        told["content"]["training"]["federation"] |= change
        made[name] = json.dumps(told).encode()
    unsigned = json.loads(made["changed"])
    unsigned["content"]["training"]["name"] = "unsigned"
    made["unsigned"] = json.dumps(unsigned | {"signatures": {}}).encode()
    return made


def test_a_plan_that_the_roots_have_not_signed_is_not_shown_and_cannot_be_approved(
    door: Door,
    sites: dict[str, Hospital],
    shown: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan, plans = a_plan(door, tmp_path), forged(door, tmp_path)
    shown(*plans.values(), plan.document.encode())
    lisbon = sites["Lisbon"]
    assert typed(lisbon, "plans") == 0
    said = capsys.readouterr().out
    assert plan.name in said  # the true one is, behind the others
    assert not [name for name in plans if name in said]
    for name in plans:
        assert typed(lisbon, "approve", name) == 2
        assert "none of that name" in capsys.readouterr().err
    assert not [path for path in lisbon.folder.glob("plans/*/plan.json") if path.read_bytes() in plans.values()]


def test_a_plan_that_was_changed_where_it_lies_is_not_valid_any_more(
    door: Door,
    sites: dict[str, Hospital],
    shown: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan, nairobi = a_plan(door, tmp_path), sites["Nairobi"]
    shown(plan.document.encode())
    assert typed(nairobi, "plans", plan.name) == 0
    file = PlanInbox(nairobi).room(plan.digest) / "plan.json"
    file.write_bytes(file.read_bytes().replace(b'"rounds": 4', b'"rounds": 9'))
    try:
        assert typed(nairobi, "approve", plan.name) == 2
        assert "error: " in capsys.readouterr().err
        assert PlanInbox(nairobi).decision(plan) is None
    finally:
        shutil.rmtree(file.parent)
