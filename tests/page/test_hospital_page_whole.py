"""A plan from its arrival to its run in a real browser, before real processes: coordinator, three hospitals, page."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from client.__main__ import COMMANDS
from client.access import people
from client.page.hospital_app import hospital_server
from client.page.site_commands import SiteCommands
from tests.consortium.consortium import LEAST
from tests.dashboard.served import ServedPage
from tests.deployment.federation import Federation
from tests.deployment.whole import SVM, InOneProcess, ended, written

SITES = ("Lisbon", "Nairobi", "Osaka", "Quito")
HERE = SITES[0]
PATIENCE_MS = 180_000


class Asked(InOneProcess, Federation):
    """A federation in which one hospital's people decide by their page, and the others approve by rule."""

    def found(self) -> None:
        super().found()
        for site in self.sites:
            path = self.folder / site / "site.yaml"
            plans = "ask" if site == HERE else "approve"
            rules = f"  least: {json.dumps(LEAST)}\n  plans: {plans} "
            path.write_text(path.read_text(encoding="utf-8").replace("  plans: ask ", rules), encoding="utf-8")

    def ask(self, *overrides: str) -> str:
        """Submit a plan; nobody types an approval."""
        return self.server("run", str(self.config), *overrides, "--no-follow").split()[1].rstrip(":")


@contextmanager
def browsed(federation: Asked, browser: Browser) -> Iterator[tuple[Tab, str]]:
    """The federation at work, the page of one hospital in a browser, and its address."""
    with ended(federation):
        federation.found()
        federation.start()
        federation.ready()
        home = federation.folder / HERE
        person = SiteCommands(home, people.open_key(home / "me.key"), COMMANDS)
        context = browser.new_context()
        with ServedPage(lambda port, say: hospital_server(person, port, say)) as page:
            seen = context.new_page()
            seen.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            seen.goto(page.links[0])
            expect(seen.locator("h1")).to_have_text("No plan waits")
            yield seen, page.url
        context.close()


@pytest.mark.slow
def test_images_that_are_not_ready_are_said_and_a_plan_that_fits_is_approved_and_runs(
    tmp_path: Path, browser: Browser
) -> None:
    federation = Asked(tmp_path, written(tmp_path / "small.yaml"), SITES[:3])
    with browsed(federation, browser) as (seen, url):
        smaller = federation.ask("plan.shape=[8, 8, 1]", "name=smaller")
        seen.goto(f"{url}/plans/{smaller}")
        expect(seen.locator(".warn").first).to_contain_text("images are not ready for it.")
        expect(seen.get_by_role("button", name="Approve")).to_have_count(0)
        federation.server("stop", smaller)
        wanted = federation.ask()
        seen.goto(url)
        seen.get_by_role("link", name=f"Read and decide on {wanted}").click()
        seen.get_by_role("button", name="Approve").click()
        expect(seen.get_by_role("status")).to_contain_text(f"Plan {wanted}: approved.")
        assert federation.wait(wanted, 300) == "finished"
        seen.goto(f"{url}/log")
        expect(seen.locator("table")).to_contain_text("images read")


@pytest.mark.slow
def test_a_run_that_began_without_this_site_takes_no_approval(tmp_path: Path, browser: Browser) -> None:
    federation = Asked(tmp_path, written(tmp_path / "small.yaml", data=SVM["data"] | {"sites": 4}), SITES)
    with browsed(federation, browser) as (seen, url):
        late = federation.ask("--wait-hours", "0.02")
        seen.goto(f"{url}/plans/{late}")  # read, and slept over
        expect(seen.get_by_role("button", name="Approve")).to_have_count(1)
        federation.wait(late, 300, ("running", "finished", "failed"))
        seen.get_by_role("button", name="Approve").click()
        expect(seen.get_by_role("alert")).to_contain_text("cannot be approved here: its run")
        print(federation.state(late)["stage"], seen.get_by_role("alert").inner_text())
