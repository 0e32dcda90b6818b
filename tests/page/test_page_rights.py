"""Who may do what through the hospital's page, and what other pages and odd requests cannot make it do."""

import json
import time

import pytest

from client.access import people
from client.access.policy import Person, SitePolicy
from client.access.policy_store import policy_store
from client.page import site_sections
from client.page.site_commands import CommandAnswer
from client.plans.inbox import PlanInbox
from common.audit.entries import decode
from common.plans.plan import RunPlan
from common.web.markup import document
from tests.page.served_hospital import Consulted, HospitalPage
from tests.tally import TRIED


@pytest.fixture(scope="module")
def plan(consulted: Consulted) -> RunPlan:
    return consulted.ask("asked")[0]


@pytest.fixture
def auditor(consulted: Consulted, hospital: HospitalPage) -> Person:
    """Somebody who may look at the log, and decides nothing; their key is in auditor.key."""
    path, store = consulted.folder / "auditor.key", policy_store(consulted.here)
    key = people.open_key(path) if path.exists() else people.make(path)
    before, founder = store.in_force(), people.open_key(consulted.here.folder / "me.key")
    if present := before.content.person(key.public):
        return present
    person = Person(name="auditor", key=key.public, roles=("auditor",))
    content = before.content.model_copy(
        update={"version": before.content.version + 1, "previous": before.digest, "made_s": int(time.time()),
                "people": (*before.content.people, person)}
    )  # fmt: skip
    assert store.offer(SitePolicy.write(content, [founder.private]))
    return person


def test_a_form_of_another_page_decides_nothing(consulted: Consulted, hospital: HospitalPage, plan: RunPlan) -> None:
    with hospital.inside() as client:
        assert plan.name in client.get(f"/plans/{plan.name}").text
        for headers in ({}, {"origin": "null"}, {"origin": "http://evil.example"}, {"origin": "http://127.0.0.1"}):
            for verdict in ("approve", "refuse"):
                answer = client.post(f"/plans/{plan.name}/{verdict}", data={"reason": "mine"}, headers=headers)
                assert answer.status_code == 403, headers
        assert client.get(f"/plans/{plan.name}/approve").status_code == 405
        evil = {"host": "evil.example", "origin": "http://evil.example"}
        assert client.post(f"/plans/{plan.name}/approve", headers=evil).status_code == 421
    with hospital.client() as stranger:
        answer = stranger.post(f"/plans/{plan.name}/approve", headers={"origin": hospital.url})
        assert answer.status_code == 401
    assert PlanInbox(consulted.here).decision(plan) is None
    TRIED["forms of other pages at a hospital's, refused"] += 10


@pytest.mark.parametrize("name", ["--json", "-h", "--home=x", "%2e%2e", "a b", "%00", "x" * 300, "é"])
def test_a_name_that_is_none_reaches_no_command(hospital: HospitalPage, name: str) -> None:
    with hospital.inside() as client:
        assert client.get(f"/plans/{name}").status_code == 404
        answer = client.post(f"/plans/{name}/approve", headers={"origin": hospital.url})
        assert answer.status_code in (400, 404)
        assert client.post("/plans/x/adopt", headers={"origin": hospital.url}).status_code in (400, 404)


def test_a_plan_that_there_is_not_is_said_in_the_words_of_the_command(hospital: HospitalPage) -> None:
    with hospital.inside() as client:
        answer = client.get("/plans/none-1234")
    assert "none-1234" in answer.text
    assert "of that name; there is:" in answer.text


@pytest.mark.parametrize("path", ["/", "/plans/x", "/images", "/models", "/privacy", "/coordinator", "/log"])
def test_every_page_is_behind_the_login_and_brings_nothing_inline(hospital: HospitalPage, path: str) -> None:
    with hospital.client() as client:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/login", b"")
    with hospital.inside() as client:
        answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert " style=" not in answer.text
    assert "<script>" not in answer.text


def test_who_may_not_decide_sees_no_button_and_is_refused_and_written_down(
    consulted: Consulted, hospital: HospitalPage, plan: RunPlan, auditor: Person
) -> None:
    with (
        HospitalPage(consulted.here, people.open_key(consulted.folder / "auditor.key")) as page,
        page.inside() as client,
    ):
        text = client.get(f"/plans/{plan.name}").text
        assert "A data officer decides; you are auditor, auditor." in text
        assert "/approve" not in text
        assert "This is for data-officer or operator or researcher" in client.get("/images").text
        assert "plan came" in client.get("/log").text
        answer = client.post(f"/plans/{plan.name}/approve", data={"reason": "mine"}, headers={"origin": page.url})
        assert answer.status_code == 303
        assert "auditor is auditor, and may not." in client.get(f"/plans/{plan.name}").text
    assert PlanInbox(consulted.here).decision(plan) is None
    entries = [decode(line, number, "") for number, line in enumerate(consulted.here.log.lines())]
    assert any(entry.facts.get("person") == "auditor" and entry.facts.get("refused") for entry in entries)


def test_who_is_taken_out_of_the_policy_has_no_page_any_more(
    consulted: Consulted, hospital: HospitalPage, auditor: Person
) -> None:
    with (
        HospitalPage(consulted.here, people.open_key(consulted.folder / "auditor.key")) as page,
        page.inside() as client,
    ):
        assert client.get("/").status_code == 200
        store, founder = policy_store(consulted.here), people.open_key(consulted.here.folder / "me.key")
        before = store.in_force()
        content = before.content.model_copy(
            update={"version": before.content.version + 1, "previous": before.digest, "made_s": int(time.time()),
                    "people": before.content.people[:1]}
        )  # fmt: skip
        assert store.offer(SitePolicy.write(content, [founder.private]))
        answer = client.get("/")
        assert answer.status_code == 503
        assert "is nobody&#x27;s under this site" in answer.text or "is nobody's under this site" in answer.text


def test_its_sessions_end_with_the_process_and_leave_no_file(consulted: Consulted) -> None:
    def files() -> set[str]:
        return {str(path) for path in consulted.here.folder.rglob("*") if "audit" not in path.parts}

    before = files()
    with HospitalPage(consulted.here) as page, page.inside() as client:
        cookie = client.cookies[f"consilium-{page.port}"]
        assert client.get("/coordinator").status_code == 200
    with HospitalPage(consulted.here) as again, again.client() as client:
        assert client.get("/", headers={"cookie": f"consilium-{again.port}={cookie}"}).status_code == 303
    assert files() == before


def test_a_hospital_s_own_models_stand_apart_from_its_partners() -> None:
    entry = {"kind": "model", "facts": {}, "doubt": "", "package": ""}
    offers = [{**entry, "title": f"Model of {owner or 'all'}", "address": owner, "by": owner or "us", "owner": owner}
              for owner in ("lisbon", "porto", "")]  # fmt: skip
    body = site_sections.models(CommandAnswer(0, json.dumps(offers), ""), [], "lisbon")
    text = document("", "", *body).decode().partition("Offered by partners</h2>")[2]
    partners, own = text.split("Offered by this hospital</h2>")
    assert ["Model of porto" in partners, "Model of all" in partners, "Model of lisbon" in partners] == [
        True,
        True,
        False,
    ]
    assert ["Model of lisbon" in own, "Model of porto" in own] == [True, False]
