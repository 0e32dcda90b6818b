"""Hospitals behind Flower's own grid, through the standard apps: the bits of a simulation, for approved plans alone."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from client import app as site_edge
from client.connection import records
from client.home import Home as Hospital
from client.plans import kept_state
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.errors import ConfigError, DataError
from common.messages import wire
from common.messages.transport import Refusal, Request
from common.plans.plan import RunPlan
from common.storage import tensorfile
from common.storage.files import write_json
from common.trust.documents import sign_document
from common.types import Tensors, prefixed, under
from server import app
from server.consortium import membership
from server.runs.driver import carry_out
from server.runs.run import Run
from server.superlink import flower_records
from server.superlink.exchange_progress import ExchangeProgress
from server.superlink.flower_transport import FlowerTransport
from simulate import main as simulate
from tests.consortium.consortium import NAMES, SVM, Consortium
from tests.superlink.grid import grid_of

CNN: dict[str, Any] = SVM | {
    "name": "small-cnn",
    "preprocess": [],
    "model": {"kind": "cnn", "width": 4},
    "federation": {
        "rounds": 3,
        "strategy": "scaffold",
        "local": {"steps": 2, "batch": 8, "optimizer": "sgd", "learning_rate": 0.05},
    },
}
PRESENT = Request("secagg/present", 0)


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all of them share a process; in life each has one, which keeps one plan's images."""
    prepared = lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__)
    monkeypatch.setattr(hospital_site, "read_once", prepared)
    monkeypatch.setattr(hospital_site, "PATIENCE_S", 120.0)  # three hospitals read in one process, on any machine


@contextmanager
def hospitals(consortium: Consortium, app: ClientApp = site_edge.app) -> Iterator[Grid]:
    """Their nodes, which the coordinator knows by name."""
    told = {i: {"home": str(site.folder)} for i, site in enumerate(consortium.sites.values())}
    with grid_of(dict.fromkeys(told, app), told) as grid:
        yield grid


def nodes(consortium: Consortium, grid: Grid) -> dict[str, int]:
    return dict(zip(consortium.sites, sorted(grid.get_node_ids()), strict=True))


def carried(consortium: Consortium, run: Run, grid: Grid) -> None:
    """A run from its beginning to its end."""
    carry_out(run, FlowerTransport(grid, nodes(consortium, grid), run.plan.digest, on_progress=run.write_progress))


def same_bits(one: Tensors, two: Tensors) -> bool:
    return set(one) == set(two) and all(np.array_equal(one[n], two[n]) for n in one)


PRIVATE: dict[str, Any] = CNN | {
    "name": "private-cnn",
    "model": {"kind": "cnn", "architecture": "groupnorm", "width": 4},
    "federation": {"rounds": 3, "select": "last", "local": {"steps": 2, "batch": 8, "private": ["norm", "head"]}},
}


@pytest.mark.parametrize("tree", [CNN, SVM, PRIVATE], ids=["cnn-scaffold", "svm", "cnn-private"])
def test_hospitals_reach_the_bits_of_the_simulation(tree: dict[str, Any], tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    run = consortium.begun(consortium.plan(tree=tree))
    with hospitals(consortium) as grid:
        carried(consortium, run, grid)
    assert run.state.stage == "finished", run.state.why
    assert simulate([str(tmp_path / "config.yaml"), "--out", str(tmp_path / "simulated")]) == 0
    found, expected = (
        tensorfile.load(folder / "model.safetensors")[0] for folder in (run.folder, tmp_path / "simulated")
    )
    assert same_bits(under("weights", found), under("weights", expected))
    assert [told["round"] for told in run.rounds()] == list(range(tree["federation"]["rounds"]))
    homes = [(site, path.parent) for site in consortium.sites.values() for path in site.folder.rglob(kept_state.FILE)]
    states = [kept_state.read(room, home.enrolment.sealing_key) for home, room in homes]
    parts = [{name.split("/")[0] for name in state} for state in states]
    keeps = {"small-cnn": {"asked", "control"}, "private-cnn": {"asked", "private"}}
    assert parts == [keeps.get(tree["name"], {"asked"})] * 3


@pytest.mark.parametrize("small", [0, 2**20], ids=["in-pieces", "in-one"])
def test_only_bytes_of_our_own_format_and_the_plans_name_travel(
    small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consortium, seen = Consortium(tmp_path), list[RecordDict]()
    monkeypatch.setattr(records, "SMALL_BYTES", small)
    monkeypatch.setattr(flower_records, "SMALL_BYTES", small)

    def watch(message: Message, context: Context) -> Message:
        reply = site_edge.app(message, context)
        seen.extend([message.content, reply.content])
        return reply

    client = ClientApp()
    client.query("answer")(watch)
    run = consortium.begun(consortium.plan())
    with hospitals(consortium, client) as grid:
        carried(consortium, run, grid)
    assert run.state.stage == "finished", run.state.why
    for content, decode in zip(seen, [wire.decode_request, wire.decode_reply] * (len(seen) // 2), strict=True):
        decode(records.unpack(content))
        assert set(content) == ({"message"} if small else {"message", "pieces"})
        assert set(content.config_records["message"]) - {"bytes"} <= {"plan"}
    assert {content.config_records["message"]["plan"] for content in seen[::2]} == {run.plan.digest}


def test_a_request_in_the_clear_is_answered_by_no_hospital(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    run = consortium.begun(consortium.plan(tree=CNN))
    weights = prefixed("weights", {"a": np.zeros(2, np.float32)})
    assert refused(consortium, run.plan.digest, Request("train", 0, weights)) == dict.fromkeys(NAMES, "plaintext")


def test_a_run_whose_member_was_suspended_fails_and_says_so(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    run = consortium.begun(consortium.plan())
    with hospitals(consortium) as grid:
        ids = nodes(consortium, grid)
        write_json(consortium.home.live / "nodes.json", {name: ids[name] for name in NAMES[1:]})
        told = {"home": str(consortium.home.folder), "plan": run.plan.digest}
        app.app(grid, Context(7, 0, {}, RecordDict(), told))
    assert run.state.stage == "failed"
    assert run.state.why.startswith("Lisbon: no member any more")


# --- what a hospital refuses ----------------------------------------------------------------------------------------


def refused(consortium: Consortium, digest: str, request: Request = PRESENT) -> dict[str, str]:
    """What the coordinator learns of the sites' refusals: everything that it learns, for none answers."""
    looks = list[ExchangeProgress]()
    with hospitals(consortium) as grid:
        transport = FlowerTransport(grid, nodes(consortium, grid), digest, on_progress=looks.append)
        outcomes = dict(transport.exchange(dict.fromkeys(NAMES, request), 60.0))
    assert outcomes.keys() == set(NAMES)
    told = {site: outcome.code for site, outcome in outcomes.items() if isinstance(outcome, Refusal)}
    assert told == looks[-1].refused
    return told


def changed(consortium: Consortium, **told: object) -> RunPlan:
    """A plan that the roots have signed as well, and the sites approved."""
    content = consortium.plan().document.content | told
    plan = RunPlan.load_verified(sign_document("plan", content, consortium.roots).encode(), consortium.home.pins)
    for site in consortium.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
        decide(site, plan, "approve", "")
    return plan


OTHER_PLANS = {
    "expired": {"expires_s": time.time() - 3600},
    "for-other-code": {"code": "0" * 64},
    "with-another-recipe-than-it-describes": {"recipe": "0" * 64},
    "for-another-purpose": {"purpose": "sale"},
}


@pytest.mark.parametrize("told", OTHER_PLANS.values(), ids=list(OTHER_PLANS))
def test_an_approved_plan_that_is_not_fit_is_refused(told: dict[str, Any], tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    assert refused(consortium, changed(consortium, **told).digest) == dict.fromkeys(NAMES, "PLAN")


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "data-that-are-not-there": ({"dataset": "abdomen"}, "there is no data set 'abdomen' under datasets"),
    "other-labels": ({"labels": ["disease", "clear"]}, "has the labels clear, disease"),
}


@pytest.mark.parametrize(("told", "why"), UNFIT.values(), ids=list(UNFIT))
def test_a_plan_that_the_data_do_not_fit_is_approved_by_no_hospital_and_answered_by_none(
    told: dict[str, Any], why: str, tmp_path: Path
) -> None:
    consortium = Consortium(tmp_path)
    with pytest.raises((ConfigError, DataError), match=why):
        changed(consortium, **told)
    inbox, honest = PlanInbox(consortium.sites["Lisbon"]), consortium.plan()
    (plan,) = (plan for plan in inbox.plans() if plan.document.content | told == plan.document.content)
    assert plan.digest != honest.digest
    assert PlanInbox(consortium.sites["Lisbon"]).decision(plan) is None
    assert refused(consortium, plan.digest) == dict.fromkeys(NAMES, "PLAN")


def test_a_plan_for_other_images_than_the_hospitals_is_refused(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    assert refused(consortium, changed(consortium, shape=[16, 16, 3]).digest) == dict.fromkeys(NAMES, "DATA")


def test_only_what_is_approved_is_answered_and_only_while_it_is(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    plan, lisbon = consortium.plan(), consortium.sites["Lisbon"]
    assert refused(consortium, "0" * 64) == dict.fromkeys(NAMES, "PLAN")
    assert refused(consortium, "") == dict.fromkeys(NAMES, "PLAN")
    assert refused(consortium, "../identity") == dict.fromkeys(NAMES, "PLAN")
    assert refused(consortium, plan.digest) == dict.fromkeys(NAMES, "PLAN")
    for site in consortium.sites.values():
        decide(site, plan, "approve", "")
    assert refused(consortium, plan.digest) == {}
    decide(lisbon, plan, "refuse", "we changed our mind")
    assert refused(consortium, plan.digest) == {"Lisbon": "PLAN"}


def lisbon_edited(site: Hospital, edit: Callable[[dict[str, Any]], object]) -> None:
    told = yaml.safe_load((site.folder / "site.yaml").read_text(encoding="utf-8"))
    edit(told)
    (site.folder / "site.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    # A process of one site lets it in once; this one has three, and who is let in anew opens the log under the name.
    "another-sites-name": (lambda told: told.update(site="Nairobi"), "swapped-key AUDIT"),
    "another-sites-images": (lambda told: told["datasets"]["chest"].update(take="Quito"), "CONFIG"),
    "images-that-moved": (lambda told: told["datasets"]["chest"].update(data=MOVED, take=None), "CONFIG"),
    "no-images": (lambda told: told.update(datasets={}), "PLAN"),
    "unknown-key": (lambda told: told.update(polcy={}), "CONFIG"),
    "no-plans-at-all": (lambda told: told["policy"].update(plans="refuse"), "PLAN"),
    "another-purpose": (lambda told: told["policy"].update(purposes=["audit"]), "PLAN"),
}
MOVED = {"kind": "npz", "path": "/images/of/patient-17.npz"}


@pytest.mark.parametrize(("edit", "code"), EDITS.values(), ids=list(EDITS))
def test_a_hospitals_settings_count_from_the_next_message_on(
    edit: Callable[[dict[str, Any]], object], code: str, tmp_path: Path
) -> None:
    consortium = Consortium(tmp_path)
    plan = changed(consortium)
    assert refused(consortium, plan.digest) == {}
    lisbon_edited(consortium.sites["Lisbon"], edit)
    found = refused(consortium, plan.digest)
    assert found.keys() == {"Lisbon"}
    assert found["Lisbon"] in code.split()


def test_a_suspended_hospital_that_has_heard_of_it_answers_no_more(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    plan = changed(consortium)
    membership.revoke(consortium.home, "Lisbon", consortium.roots)
    consortium.roster()
    assert refused(consortium, plan.digest) == {"Lisbon": "swapped-key"}


def test_the_coordinator_learns_the_code_of_an_error_and_never_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    consortium = Consortium(tmp_path)
    plan = changed(consortium)
    lisbon, nairobi, osaka = consortium.sites.values()
    lisbon_edited(lisbon, lambda told: told["datasets"]["chest"].update(data=MOVED, take=None))
    (paper := PlanInbox(nairobi).room(plan.digest) / "plan.json").unlink()
    paper.mkdir()  # cannot be read, not even by root
    read = hospital_site.own_cases

    def defective(home: Hospital, plan: RunPlan) -> Any:
        if home.folder == osaka.folder:
            raise ValueError("patient-17 of Osaka")
        return read(home, plan)

    monkeypatch.setattr(hospital_site, "own_cases", defective)
    with caplog.at_level(logging.WARNING, "consilium"):
        assert refused(consortium, plan.digest) == {"Lisbon": "CONFIG", "Nairobi": "DISK", "Osaka": "DEFECT"}
    assert "patient-17.npz" in caplog.text  # in the hospital's own log
    assert "patient-17 of Osaka" in caplog.text


def test_a_node_that_has_no_site_says_so_in_its_own_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with grid_of({0: site_edge.app}) as grid, caplog.at_level(logging.WARNING, "consilium"):
        transport = FlowerTransport(grid, {"Lisbon": next(iter(grid.get_node_ids()))}, "0" * 64)
        assert list(transport.exchange({"Lisbon": PRESENT}, 60.0)) == [("Lisbon", Refusal("CONFIG"))]
    assert 'expected home="FOLDER"' in caplog.text
    with grid_of({0: site_edge.app}, {0: {"home": str(tmp_path)}}) as grid:
        transport = FlowerTransport(grid, {"Lisbon": next(iter(grid.get_node_ids()))}, "0" * 64)
        assert [outcome for _, outcome in transport.exchange({"Lisbon": PRESENT}, 60.0)] == [Refusal("CONFIG")]
    assert "is not known here" in caplog.text or "no site.yaml" in caplog.text
