"""The hospital's page in a real browser, before a real coordinator: a plan from its arrival to the decision on it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from client.access.policy_store import policy_store
from client.access.signed_entries import verify_all
from client.plans.inbox import PlanInbox
from common.audit.entries import decode
from common.storage.files import write_json
from server.gateway.site_api import FolderSiteApi
from tests.dashboard.browsing import DESKTOP, PATIENCE_MS, look_at, tab
from tests.page.served_hospital import HERE, Consulted, HospitalPage

PHONE = {"width": 390, "height": 844}
LOOKS = ((DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark"))


@pytest.fixture(scope="module")
def seen(hospital: HospitalPage, browser: Browser) -> Iterator[Tab]:
    """The page, open in a browser."""
    with tab(browser, hospital.links[0]) as opened:
        yield opened


def test_a_plan_is_read_and_approved_and_the_coordinator_has_the_decision(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    plan, run = consulted.ask("pneumonia")
    seen.goto(hospital.url)
    expect(seen.locator("h1")).to_have_text(re.compile(r"^\d+ plans? waits? for a decision$"))
    look_at(seen, LOOKS)
    seen.get_by_role("link", name=plan.name).first.click()
    expect(seen.locator("h1")).to_have_text(plan.name)
    for text in ("pilot asks for training", "Hanoi, Lima, Lisbon, Nairobi", "No image", "3 of the 4 sites at least",
                 "loss and gradient", "No bound on privacy"):  # fmt: skip
        expect(seen.locator("main")).to_contain_text(text)
    look_at(seen, LOOKS)
    seen.get_by_role("button", name=f"Approve {plan.name}").click()
    expect(seen.get_by_role("status")).to_contain_text(f"Plan {plan.name}: approved.")
    expect(seen.locator(".badge")).to_have_text("approved")
    look_at(seen, LOOKS)
    decision = PlanInbox(consulted.here).decision(plan)
    assert decision is not None
    assert decision.verdict == "approve"
    assert run.decisions()[HERE].document == decision.document
    seen.reload()  # acts no second time, and says no second time that it did
    expect(seen.get_by_role("status")).to_have_count(0)
    entries = [decode(line, number, "") for number, line in enumerate(consulted.here.log.lines())]
    (approval,) = (
        entry for entry in entries if (entry.what, entry.outcome, entry.plan) == ("approve", "done", plan.name)
    )
    assert approval.role.endswith("as data-officer")
    assert verify_all(consulted.here.log, policy_store(consulted.here)) >= 1


def test_a_plan_is_refused_with_a_reason_and_not_without(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    plan, run = consulted.ask("unwanted")
    seen.goto(f"{hospital.url}/plans/{plan.name}")
    refuse = seen.get_by_role("button", name="Refuse")
    refuse.click()
    expect(seen.locator("#refuse-reason:invalid")).to_have_count(1)  # the browser asks for a reason
    seen.locator("form.decide").last.evaluate("form => form.noValidate = true")
    refuse.click()
    expect(seen.get_by_role("alert")).to_contain_text("Nothing was refused: write down why")
    assert run.decisions() == {}
    seen.get_by_label("Why, for the coordinator").fill("--no ethics vote; <b>ask</b> again in May")
    seen.keyboard.press("Tab")  # by keyboard alone
    seen.keyboard.press("Enter")
    expect(seen.locator("main")).to_contain_text(
        "It was refused. Written beside it: --no ethics vote; <b>ask</b> again"
    )
    assert run.decisions()[HERE].reason == "--no ethics vote; <b>ask</b> again in May"
    seen.get_by_role("button", name="Approve").click()  # and thought better of
    expect(seen.locator("main")).to_contain_text("It was approved.")
    assert run.decisions()[HERE].verdict == "approve"


def test_images_that_are_not_ready_are_said_before_anything_is_signed(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    plan, _ = consulted.ask("smaller", "plan.shape=[14, 14, 1]")
    seen.goto(f"{hospital.url}/plans/{plan.name}")
    expect(seen.locator(".warn").first).to_contain_text("images are not ready for it.")
    expect(seen.locator(".warn").first).to_contain_text("28×28×1 after preprocessing")
    expect(seen.get_by_role("button", name="Approve")).to_have_count(0)
    look_at(seen, LOOKS)
    fits, _ = consulted.ask("vanished")
    seen.goto(f"{hospital.url}/plans/{fits.name}")
    path = consulted.here.folder / "images.npz"
    path.rename(path.with_suffix(".away"))  # between reading and deciding
    try:
        seen.get_by_role("button", name="Approve").click()
        expect(seen.get_by_role("alert")).to_contain_text("images.npz")
        assert PlanInbox(consulted.here).decision(fits) is None
    finally:
        path.with_suffix(".away").rename(path)


def test_a_plan_that_began_without_this_site_is_said_to_be_too_late(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    plan, run = consulted.ask("late")
    seen.goto(f"{hospital.url}/plans/{plan.name}")
    consulted.begin_without(run)
    seen.get_by_role("button", name="Approve").click()
    expect(seen.get_by_role("alert")).to_contain_text("its run has begun without this site")
    expect(seen.locator(".badge")).to_have_text("begun without this site")
    expect(seen.get_by_role("button", name="Approve")).to_have_count(0)
    assert PlanInbox(consulted.here).decision(plan) is None
    look_at(seen, LOOKS)


def test_two_histories_are_said_on_every_page_that_decides(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    plan, _ = consulted.ask("doubted")
    seen.goto(f"{hospital.url}/plans/{plan.name}")
    write_json(consulted.here.witness_refused, {"why": "size 3 and then 2.", "seen": None, "shown": {}})
    try:
        seen.get_by_role("button", name="Approve").click()
        expect(seen.get_by_role("alert")).to_contain_text("the coordinator showed two histories")
        assert PlanInbox(consulted.here).decision(plan) is None
        for path in ("", "/coordinator"):
            seen.goto(hospital.url + path)
            expect(seen.locator(".warn").first).to_contain_text(re.compile("two histories", re.IGNORECASE))
            look_at(seen, LOOKS)
    finally:
        consulted.here.witness_refused.unlink()


def test_all_else_that_the_page_shows_can_be_read_by_everybody(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    seen.goto(f"{hospital.url}/images")
    look_at(seen, LOOKS[:1])
    seen.get_by_role("button", name="Look at the images now").click()
    expect(seen.locator("main")).to_contain_text("chest is version")
    expect(seen.locator("main")).to_contain_text("within 30 s of the coordinator's")
    look_at(seen, LOOKS)
    for path, text in (("models", "No model was compared here yet"), ("privacy", "no budget of its own"),
                       ("coordinator", "✓ One history"), ("log", "plan came")):  # fmt: skip
        seen.goto(f"{hospital.url}/{path}")
        expect(seen.locator("main")).to_contain_text(text, timeout=PATIENCE_MS)
        look_at(seen, LOOKS)
    seen.get_by_label("Find an entry").fill("approve")
    expect(seen.locator("output")).to_contain_text(" of ")


def test_without_the_coordinator_the_page_says_so_and_shows_what_is_known(
    consulted: Consulted, hospital: HospitalPage, seen: Tab
) -> None:
    plan, _ = consulted.ask("later")
    seen.goto(hospital.url)
    address = consulted.here.folder / "address"
    before = address.read_text(encoding="utf-8")
    address.write_text("127.0.0.1:9", encoding="utf-8")
    try:
        seen.goto(hospital.url)
        expect(seen.locator(".warn").first).to_contain_text("The coordinator was not reached.")
        expect(seen.locator("table")).to_contain_text(plan.name)
    finally:
        address.write_text(before, encoding="utf-8")
    assert FolderSiteApi(consulted.home)  # and it is there again
