"""A page in a real browser: looked at on a desktop and on a phone, light and dark, and by axe-core."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PATIENCE_MS = 60_000
"""A busy machine may need long; what is there at once costs nothing."""
TWO = ((DESKTOP, "light"), (PHONE, "dark"))
FOUR = (*TWO, (DESKTOP, "dark"), (PHONE, "light"))


@contextmanager
def tab(browser: Browser, url: str, size: dict[str, int] = DESKTOP, scheme: str = "light") -> Iterator[Tab]:
    """A page in a fresh browser; what a browser complains of fails the test."""
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    found = context.new_page()
    found.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    complaints: list[str] = []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    try:
        found.goto(url)
        yield found
        assert complaints == []
    finally:
        context.close()


def serious(seen: Tab) -> list[str]:
    """What axe-core finds serious or critical."""
    found = Axe().run(seen).response["violations"]
    bad = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {[node['html'][:90] for node in one['nodes'][:3]]}" for one in bad]


def look_at(seen: Tab, looks: Sequence[tuple[dict[str, int], str]]) -> None:
    """Nothing serious, and no page wider than the screen."""
    for size, scheme in looks:
        seen.set_viewport_size(size)  # type: ignore[arg-type]
        seen.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert serious(seen) == [], (seen.url, size, scheme)
        assert seen.evaluate("document.documentElement.scrollWidth") <= size["width"], (seen.url, size)
