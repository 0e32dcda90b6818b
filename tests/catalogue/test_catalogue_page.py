"""The catalogue in a real browser: it appears by itself, says what others wrote as text, and is usable by everybody."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from common.catalogue import Offer, OfferContent
from common.catalogue.offer_from_file import Descriptions, of_file
from server.consortium import membership
from server.dashboard.live_page import PageContent
from tests.catalogue.fair import ABOUT, Fair
from tests.catalogue.test_listing import plan
from tests.dashboard.browsing import FOUR, PHONE, TWO, look_at, tab
from tests.dashboard.served import Page
from tests.package.shop import Made

MARKUP = '<img src="x" onerror="document.title=1"><script>document.title=2</script><b>&amp;</b>'
LONGEST = "w" * 60
Looks = Sequence[tuple[dict[str, int], str]]


def taken(fair: Fair, content: OfferContent, package: bytes = b"") -> None:
    """An entry in the catalogue, signed by whose it is."""
    keys = [fair.consortium.sites[content.owner].identity] if content.owner else fair.consortium.roots
    fair.catalogue.take(content.owner, Offer.make(content, keys).document.encode(), package)


def crowded(fair: Fair, model: Made) -> None:
    """What strains a page: a data set, a model, 30 plans, and texts that are long, without a gap, or markup."""
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    finder, package = of_file(model.path, Descriptions("finder", title="long title " * 10), "pilot", "", {})
    taken(fair, finder, package)
    first = plan(fair, name=LONGEST, title="W" * 120, description=f"{'W' * 300}\n\n{MARKUP}", contact="w" * 200)
    taken(fair, first)
    for number in range(29):
        taken(fair, first.model_copy(update={"name": f"plan-{number}", "title": f"Plan {number}", "contact": ""}))


def test_what_a_hospital_offers_appears_on_the_open_page_and_goes_when_it_is_withdrawn(
    fair: Fair, page: Page, browser: Browser
) -> None:
    with tab(browser, page.links[0]) as seen:
        part = seen.locator("#part-catalogue")
        expect(part).to_contain_text("Nothing is offered yet.")
        seen.evaluate("window.loadedOnce = true")
        assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
        row = part.locator("tbody tr")
        expect(row).to_contain_text([str(ABOUT["title"])])
        expect(row).to_contain_text("Not real: SYNTHETIC")
        assert fair.at("Lisbon", "withdraw", "chest") == 0
        expect(part).to_contain_text("Nothing is offered yet.")
        assert seen.evaluate("window.loadedOnce")


def test_what_a_hospital_offered_leaves_the_page_with_it(fair: Fair) -> None:
    home = fair.consortium.home
    taken(fair, plan(fair, title="Will not stay"))
    assert "Will not stay" in PageContent.at(home).html_parts["catalogue"]
    membership.revoke(home, "Lisbon", fair.consortium.roots)
    assert "Will not stay" not in PageContent.at(home).html_parts["catalogue"]


def test_the_link_of_an_entry_leads_to_all_that_is_said_of_it(fair: Fair, page: Page, browser: Browser) -> None:
    for number in range(9):
        taken(fair, plan(fair, name=f"plan-{number}"))
    assert fair.at("Nairobi", "offer", "chest", "--yes") == 0
    taken(fair, plan(fair, name="last", title="Where it leads"))
    with tab(browser, page.links[0], PHONE) as seen:
        seen.get_by_role("link", name="Where it leads").click()
        expect(seen).to_have_url(f"{page.url}/catalogue#of-Lisbon/last")
        card = seen.locator("article:target")
        expect(card.locator("h3")).to_have_text("Where it leads")
        expect(card).to_contain_text("Lisbon/last by Lisbon")
        expect(card).to_be_in_viewport(ratio=0.3)
        seen.get_by_role("link", name="Live").click()
        expect(seen.locator("#link")).to_have_text("● live")


def test_what_partners_write_is_text_and_no_markup(fair: Fair, page: Page, browser: Browser) -> None:
    taken(fair, plan(fair, title=MARKUP, description=MARKUP, contact=MARKUP))
    with tab(browser, page.links[0]) as seen:
        expect(seen.get_by_role("link", name=MARKUP, exact=True)).to_be_visible()
        assert seen.locator("#part-catalogue :is(img, b, script)").count() == 0
        seen.goto(f"{page.url}/catalogue")
        card = seen.locator("article")
        expect(card.locator("h3")).to_have_text(MARKUP)
        expect(card.locator("p").nth(1)).to_have_text(MARKUP)
        assert card.locator("img, b, script").count() == 0
        expect(seen).to_have_title("Catalogue – Consilium")


def test_entries_are_found_by_a_word(fair: Fair, page: Page, browser: Browser) -> None:
    assert fair.at("Nairobi", "offer", "chest", "--yes") == 0
    for number in range(3):
        taken(fair, plan(fair, name=f"plan-{number}", title=f"Plan {number}"))
    with tab(browser, page.links[0]) as seen:
        seen.get_by_label("Find an entry").fill("synthetic")
        expect(seen.locator("#part-catalogue tbody tr").filter(visible=True)).to_have_count(1)
        seen.goto(f"{page.url}/catalogue")
        cards = seen.locator("article")
        seen.get_by_label("Find an entry").fill("plan 2")
        expect(cards.filter(visible=True)).to_have_count(1)
        expect(seen.locator("output")).to_have_text("1 of 4")
        expect(seen.get_by_role("heading", name="Data sets")).to_be_hidden()
        seen.get_by_label("Find an entry").fill("")
        expect(cards.filter(visible=True)).to_have_count(4)


def test_the_catalogue_is_shown_to_whoever_is_logged_in_alone(page: Page, browser: Browser) -> None:
    with tab(browser, f"{page.url}/catalogue") as seen:
        assert seen.url == f"{page.url}/login"
        expect(seen.locator("h1")).to_have_text("Log in")


@pytest.mark.parametrize("looks", [TWO, pytest.param(FOUR, marks=pytest.mark.slow)], ids=["two", "four"])
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_its_screen(
    fair: Fair, model: Made, page: Page, browser: Browser, tmp_path: Path, looks: Looks
) -> None:
    crowded(fair, model)
    assert fair.here("export", tmp_path / "all.html") == 0
    with tab(browser, page.links[0]) as seen:
        expect(seen.locator("#part-catalogue tbody tr")).to_have_count(32)
        look_at(seen, looks)
        seen.goto(f"{page.url}/catalogue")
        expect(seen.locator("article")).to_have_count(32)
        look_at(seen, looks)
    with tab(browser, (tmp_path / "all.html").as_uri()) as seen:
        look_at(seen, looks)
