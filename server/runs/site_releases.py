"""Which release every site has, by its newest report: who cannot do a plan is named before anybody signs it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.errors import PlanError
from common.storage.files import glance
from common.trust.release import VERSION
from server.consortium.home import Home
from server.runs.site_reports import SiteReports

if TYPE_CHECKING:
    from common.plans.plan import PlanContent


def refuse_unable(home: Home, plan: "PlanContent") -> None:
    """Refuse a plan that a site's release cannot do; one that was never connected has said nothing yet.

    Raises:
        PlanError: naming these sites, with their releases.
    """
    releases = {site: SiteReports(home).newest(site) for site in plan.cohort}
    if unable := [
        site for site, report in releases.items() if report.get("release") and report.get("code") != plan.code
    ]:
        words = ", ".join(f"{site} has {_words(releases[site])}" for site in unable)
        raise PlanError(
            f"{words}: no release that works with this one, {VERSION} (code {plan.code[:12]}…). Their sites would "
            f"refuse the plan, so nothing was signed. Bring them to one that does, or leave them out (plan.cohort): "
            "docs/upgrade.md"
        )


def describe_other(home: Home, sites: Iterable[str]) -> str:
    """Who has another release than the running coordinator, and whether they train together; empty if all have it."""
    coordinator = glance(home.live / "keeper.json") or {}
    if not coordinator.get("code"):
        return ""
    texts = []
    for site in sites:
        report = SiteReports(home).newest(site)
        if report.get("release") and (report["release"], report.get("code")) != (
            coordinator["release"],
            coordinator["code"],
        ):
            works = report.get("code") == coordinator["code"]
            texts.append(f"{site} {_words(report)}, which {'works with it' if works else 'cannot do its plans'}")
    return f"The coordinator has release {coordinator['release']}, {'; '.join(texts)}." if texts else ""


def _words(report: dict[str, str]) -> str:
    code = report.get("code", "")
    return f"release {report['release']} ({f'code {code[:12]}…' if code else 'code not told, as before 0.3'})"
