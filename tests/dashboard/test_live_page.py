"""The live page in a real browser: it follows what happens, by itself, and is usable by everybody."""

import re
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from client.plans.decide import decide
from common.web.markup import document, el, style
from server.__main__ import main
from server.report import rounds_table
from server.rounds.round_record import RoundRecord
from server.runs import driver
from server.runs.run import Run
from server.superlink.exchange_progress import ExchangeProgress
from simulate import main as simulate
from tests.consortium.consortium import NAMES, Consortium
from tests.dashboard.browsing import DESKTOP, FOUR, PHONE, TWO, look_at, serious, tab
from tests.dashboard.served import PASSWORD, Page, alive
from tests.runs.test_runs import Hospitals


def round_of(number: int, *dropped: str, void: bool = False) -> RoundRecord:
    stayed = tuple(name for name in NAMES if name not in dropped)
    told = {"auc": 0.6 + 0.05 * number, "loss": 0.9 - 0.1 * number}
    return RoundRecord(number, 0.5, 1000, 2000, stayed, dropped, void, 0.5, told)


def begun(consortium: Consortium, *rounds: RoundRecord) -> Run:
    """A run that is going on."""
    run = consortium.begun(consortium.plan())
    run.write_state(replace(run.state, started_s=time.time()))
    run.remember(rounds)
    run.write_progress(ExchangeProgress("secagg/submit", len(rounds), NAMES[:1], time.time(), time.time() + 60))
    return run


# --- what happens is seen -------------------------------------------------------------------------------------------


def test_a_run_is_followed_from_start_to_end(consortium: Consortium, page: Page, browser: Browser) -> None:
    with tab(browser, page.links[0]) as seen:
        expect(seen.locator("h1")).to_have_text("No run yet")
        seen.evaluate("window.loadedOnce = true")
        plan = consortium.plan()
        run = Run.begin(consortium.home, plan, 3600)
        expect(seen.locator("h1")).to_have_text(run.name)
        expect(seen.locator("#part-run")).to_contain_text("waits for the decision of Lisbon, Nairobi, Osaka")
        for name in NAMES:
            decide(consortium.sites[name], plan, "approve", "")
            consortium.bring(name, plan)
        expect(seen.locator("#part-sites tbody tr")).to_contain_text(["✓ approved"] * 3)
        run.write_state(replace(run.state, stage="running", cohort=NAMES, started_s=time.time()))
        for number in range(4):
            run.write_progress(ExchangeProgress("secagg/submit", number, NAMES[1:2], time.time(), time.time() + 60))
            expect(seen.locator("#part-run")).to_contain_text("Nairobi to compute and send its masked vector")
            run.remember([round_of(number, *(["Osaka"] if number == 2 else []))])
            expect(seen.locator("#part-run b")).to_have_text(f"{number + 1} of 4 rounds")
            expect(seen).to_have_title(re.compile(f"^{number + 1}/4 "))
        expect(seen.locator("#part-curves svg[role=img]")).to_have_count(2)
        expect(seen.locator("#part-rounds tbody tr").nth(2)).to_contain_text("3 of 4")
        run.end("finished")
        expect(seen.locator(".badge")).to_have_text("✓ finished")
        expect(seen.locator("#said")).to_have_text(f"Run {run.name} finished.")
        assert seen.evaluate("window.loadedOnce")


def test_a_chart_says_its_values_where_the_pointer_is_and_goes_on_saying_them(
    consortium: Consortium, page: Page, browser: Browser
) -> None:
    run = begun(consortium, round_of(0), round_of(1))
    with tab(browser, page.links[0]) as seen:
        expect(seen.locator("#link")).to_have_text("● live")
        seen.get_by_text("The plan, as sites decide on it").click()
        expect(seen.locator("#part-run pre")).to_contain_text(run.plan.digest)
        expect(seen.get_by_text("0.650 federated")).to_be_hidden()
        seen.locator("#part-curves .at").nth(1).locator(".catch").hover()
        expect(seen.get_by_text("0.650 federated")).to_be_visible()
        run.remember([round_of(2)])
        expect(seen.locator("#part-curves details tbody tr")).to_have_count(3)
        expect(seen.get_by_text("0.650 federated")).to_be_visible()


def test_curves_are_hidden_by_the_legend_and_saved_by_keyboard_without_a_script(
    tmp_path: Path, browser: Browser
) -> None:
    rounds = [asdict(round_of(number)) for number in range(3)]
    runs = [(3, "Lisbon alone", rounds), (3, "Osaka alone", rounds), (0, "federated", rounds)]
    drawn = rounds_table.curves(runs, [(0, "federated"), (3, "each site alone")])
    made = document("curves", style(), el("h1", "curves"), drawn, rounds_table.download("run", runs))
    (tmp_path / "curves.html").write_bytes(made)
    with tab(browser, (tmp_path / "curves.html").as_uri()) as seen:
        lines = seen.locator("figure .line.s3")
        expect(lines).to_have_count(4)
        expect(lines.first).to_be_visible()
        seen.get_by_label("each site alone").focus()
        seen.keyboard.press("Space")
        expect(lines.first).to_be_hidden()
        expect(seen.locator("figure .end.e3").first).to_be_hidden()
        expect(seen.locator("figure .line.s0").first).to_be_visible()
        assert serious(seen) == []
        with seen.expect_download() as saved:
            seen.get_by_role("link", name="Save the curves as CSV").press("Enter")
        assert len(Path(saved.value.path()).read_text(encoding="utf-8").splitlines()) == 1 + 3 * 3


def test_a_site_whose_process_ended_is_shown(consortium: Consortium, page: Page, browser: Browser) -> None:
    begun(consortium, round_of(0))
    with tab(browser, page.links[0]) as seen:
        row = seen.locator("#part-sites tbody tr").filter(has_text="Osaka")
        expect(row).to_contain_text("connected")
        alive(consortium.home, Osaka=1.0)
        expect(row).to_contain_text("line lost")
        expect(seen.locator("#said")).to_contain_text("Not there: Osaka.")


def test_a_lost_connection_is_said_and_regained_with_all_that_happened_meanwhile(
    consortium: Consortium, browser: Browser
) -> None:
    run = begun(consortium, round_of(0))
    with Page(consortium.home) as first:
        port, link = first.port, first.links[0]
        context = browser.new_context()
        seen = context.new_page()
        seen.goto(link)
        expect(seen.locator("#link")).to_have_text("● live")
    expect(seen.locator("#link")).to_contain_text("✕ connection lost, trying again")
    expect(seen.locator("#part-run b")).to_have_text("1 of 4 rounds")
    assert serious(seen) == []
    run.remember([round_of(1), round_of(2)])
    with Page(consortium.home, port):
        expect(seen.locator("#link")).to_have_text("● live", timeout=30_000)
        expect(seen.locator("#part-run b")).to_have_text("3 of 4 rounds")
        context.close()


def test_what_somebody_is_at_stays_as_it_is_while_the_page_is_renewed(
    consortium: Consortium, page: Page, browser: Browser
) -> None:
    run = begun(consortium, round_of(0))
    with tab(browser, page.links[0]) as seen:
        seen.locator("#part-curves summary").click()
        seen.locator("#part-history a").first.focus()
        run.remember([round_of(1)])
        expect(seen.locator("#part-curves details tbody tr")).to_have_count(2)
        assert seen.evaluate("document.activeElement.textContent") == run.name
        expect(seen.locator("#part-curves details")).to_have_attribute("open", "")


def test_runs_are_found_by_a_word_and_stay_so_while_the_page_is_renewed(
    consortium: Consortium, page: Page, browser: Browser
) -> None:
    begun(consortium, round_of(0)).end("failed", "too few sites answered.")
    run = consortium.begun(consortium.plan("name=other"))
    with tab(browser, page.links[0]) as seen:
        rows = seen.locator("#part-history tbody tr")
        expect(rows.filter(visible=True)).to_have_count(2)
        seen.get_by_label("Find a run").fill("Too few")
        expect(rows.filter(visible=True)).to_have_count(1)
        expect(seen.locator("#part-history output")).to_have_text("1 of 2")
        run.remember([round_of(0)])
        expect(rows.first).to_contain_text("1 of 4")
        expect(rows.filter(visible=True)).to_contain_text(["too few sites answered"])


def test_a_session_that_ends_leads_to_the_login_page(page: Page, browser: Browser) -> None:
    with tab(browser, page.links[0]) as seen:
        expect(seen.locator("#link")).to_have_text("● live")
        (page.home.live / "dashboard.json").unlink()
        expect(seen.locator("h1")).to_have_text("Log in", timeout=30_000)


# --- logging in -----------------------------------------------------------------------------------------------------


def test_the_password_lets_in_by_keyboard_alone_and_a_wrong_one_is_refused(locked: Page, browser: Browser) -> None:
    with tab(browser, locked.links[0]) as seen:
        assert seen.url.endswith("/login")
        expect(seen.locator("#password")).to_be_focused()
        seen.keyboard.type("wrong password")
        seen.keyboard.press("Enter")
        expect(seen.get_by_role("alert")).to_contain_text("wrong password")
        expect(seen.locator("#password")).to_be_focused()
        seen.keyboard.type(PASSWORD)
        seen.keyboard.press("Enter")
        expect(seen.locator("#link")).to_have_text("● live")
        seen.get_by_role("button", name="Log out").press("Enter")
        expect(seen.locator("h1")).to_have_text("Log in")
        seen.goto(f"{locked.url}/")
        assert seen.url.endswith("/login")


def test_a_link_used_twice_lets_nobody_in(page: Page, browser: Browser) -> None:
    with tab(browser, page.links[0]) as seen:
        assert seen.url == f"{page.url}/"
    with tab(browser, page.links[0]) as seen:
        expect(seen.get_by_role("alert")).to_contain_text("used already")


# --- for everybody --------------------------------------------------------------------------------------------------


def test_the_keyboard_reaches_the_content_first_and_then_everything(page: Page, browser: Browser) -> None:
    with tab(browser, page.links[0]) as seen:
        seen.keyboard.press("Tab")
        assert seen.evaluate("document.activeElement.textContent") == "Skip to content"
        seen.keyboard.press("Enter")
        assert seen.evaluate("document.activeElement.id") == "content"


def eventful(consortium: Consortium) -> Run:
    """A run with everything that there is to show."""
    run = begun(consortium, round_of(0), round_of(1, "Osaka"), round_of(2, "Lisbon", "Osaka", void=True))
    alive(consortium.home, Osaka=1.0)
    return run


def test_axe_finds_nothing_serious_on_the_pages(consortium: Consortium, locked: Page, browser: Browser) -> None:
    eventful(consortium)
    with tab(browser, locked.links[0]) as seen:
        look_at(seen, TWO)
        seen.get_by_label("Password").fill(PASSWORD)
        seen.keyboard.press("Enter")
        expect(seen.locator("#link")).to_have_text("● live")
        look_at(seen, TWO)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["empty", "running", "failed", "errors"])
def test_axe_finds_nothing_serious_on_any_page(
    consortium: Consortium, page: Page, browser: Browser, state: str
) -> None:
    if state in ("running", "failed"):
        run = eventful(consortium)
        if state == "failed":
            run.end("failed", "too few sites answered.")
    with tab(browser, page.links[0]) as seen:
        if state == "errors":
            seen.goto(f"{page.url}/errors#QUORUM")
        else:
            expect(seen.locator("#link")).to_have_text("● live")
        look_at(seen, FOUR)


@pytest.mark.slow
def test_axe_finds_nothing_serious_on_reports(tmp_path: Path, browser: Browser) -> None:
    """Of a real run, of a simulation, and of two runs compared."""
    consortium = Consortium(tmp_path)
    run = consortium.begun(consortium.plan())
    driver.carry_out(run, Hospitals(consortium, run.plan))
    few = ["data.sites=3", "data.cases=40", "data.size=16", "preprocess=[]", "federation.rounds=6"]
    assert (
        simulate(["configs/demo-svm.yaml", "--out", str(tmp_path / "svm"), *few, "federation.simulate.drop=0.1"]) == 0
    )
    both = [str(tmp_path / "svm"), str(run.folder)]
    assert main(["compare", *both, "--out", str(tmp_path / "compare.html")]) == 0
    for file in (run.folder / "report.html", tmp_path / "svm" / "report.html", tmp_path / "compare.html"):
        with tab(browser, file.as_uri()) as seen:
            look_at(seen, FOUR)


def test_no_name_makes_the_page_wider_than_a_screen(tmp_path: Path, browser: Browser) -> None:
    names = ("Lisbon", "Nairobi", "w" * 63)
    consortium = Consortium(tmp_path, names)
    consortium.roster()
    run = begun(consortium, round_of(0))
    run.write_progress(ExchangeProgress("secagg/submit", 1, names[2:], time.time(), time.time() + 60))
    alive(consortium.home, Nairobi=1.0)
    with Page(consortium.home) as page, tab(browser, page.links[0]) as seen:
        expect(seen.locator("#part-sites")).to_contain_text(names[2])
        for width in (PHONE["width"], 740, 1000, DESKTOP["width"]):
            seen.set_viewport_size({"width": width, "height": 800})
            assert seen.evaluate("document.documentElement.scrollWidth") <= width


def test_without_script_the_page_shows_everything_as_it_was(
    consortium: Consortium, page: Page, browser: Browser
) -> None:
    begun(consortium, round_of(0))
    context = browser.new_context(java_script_enabled=False)
    seen = context.new_page()
    seen.goto(page.links[0])
    expect(seen.locator("#part-sites tbody tr")).to_have_count(3)
    context.close()
