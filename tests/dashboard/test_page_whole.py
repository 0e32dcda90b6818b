"""A whole federation of real processes, followed on the page in a real browser."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from server.consortium.home import Home
from tests.dashboard.served import Page
from tests.deployment.whole import SITES, Quick, ended, written

WITHIN_S = 5.0
"""So soon a site whose process was killed is to be seen."""
PATIENCE_MS = 120_000


@pytest.mark.slow
def test_a_real_run_is_followed_to_its_end_and_a_killed_site_is_seen_within_five_seconds(
    tmp_path: Path, browser: Browser
) -> None:
    federation = Quick(tmp_path, written(tmp_path / "small.yaml"), SITES)
    with ended(federation):
        federation.found()
        federation.start()
        federation.ready()
        context = browser.new_context()
        with Page(Home(federation.home)) as page:
            seen = context.new_page()
            seen.goto(page.links[0])
            rows = seen.locator("#part-sites tbody tr")
            expect(rows.get_by_text("● connected")).to_have_count(3, timeout=PATIENCE_MS)
            expect(rows.get_by_text("idle")).to_have_count(3, timeout=PATIENCE_MS)
            expect(seen.locator("#part-top")).to_contain_text("gateway up", timeout=PATIENCE_MS)
            time.sleep(2.0)
            took = {"idle": killed(federation, seen, "Nairobi")}
            name = federation.submit()
            expect(seen.locator("h1")).to_have_text(name, timeout=PATIENCE_MS)
            expect(seen.locator("#part-run b")).to_have_text(
                re.compile(r"^[1-9]\d* of 100 rounds"), timeout=PATIENCE_MS
            )
            took["in a run"] = killed(federation, seen, "Osaka")
            expect(seen.locator(".badge")).to_have_text("✓ finished", timeout=2 * PATIENCE_MS)
            report = seen.get_by_role("link", name=f"report of {name}")
            with context.expect_page() as opened:
                report.click(modifiers=["Control"])
            expect(opened.value.locator("h1")).to_have_text(name)
        context.close()
    print({what: f"{s:.1f} s" for what, s in took.items()})
    assert max(took.values()) < WITHIN_S


def killed(federation: Quick, seen: Tab, site: str) -> float:
    """Kill a site's process; after how many seconds the page says so. Then start it again, until that is seen too."""
    row = seen.locator("#part-sites tbody tr").filter(has_text=site)
    began = time.monotonic()
    federation.kill(site)
    expect(row).to_contain_text("line lost", timeout=20_000)
    took_s = time.monotonic() - began
    federation.start(site)
    expect(row).to_contain_text("● connected", timeout=PATIENCE_MS)
    expect(row).not_to_contain_text("connecting", timeout=PATIENCE_MS)
    return took_s
