"""The site API: what the gateway tells sites and hears from them, over the coordinator's folder.

The site that asks was verified before (server/gateway/authentication.py). All that it can change here is its own
decision on a plan that it was asked about, its own report of what it is doing, and what it offers in the catalogue:
what it sends is signed by itself once more, checked against its own key, and written under its own name.
"""

import base64
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from common.audit.witness_statement import WitnessStatement
from common.errors import IdentityError, PlanError, WireError
from common.plans.decision import Decision
from common.storage.files import glance, write_json
from common.trust.release import VERSION, code_digest
from server.catalogue.catalogue import Catalogue
from server.consortium.home import Home
from server.consortium.log_proofs import LogProofs
from server.consortium.site_accounts import SiteAccounts
from server.runs.run import Run
from server.runs.run_state import OVER, RunState
from server.runs.site_reports import SiteReports

Json = dict[str, Any]
LATELY_S = 30 * 86_400
"""For so long a site is told how a run ended."""


@dataclass(frozen=True)
class FolderSiteApi:
    """The gateway's `SiteApi` over the coordinator's folder."""

    home: Home

    @cached_property
    def _log_proofs(self) -> LogProofs:
        return LogProofs(self.home)

    def log_head(self, site: str, content: Json) -> Json:
        """The newest head of the coordinator's log, and proof that it extends the one that the site saw last.

        With it come all sites' words on their accounts of privacy; a site may bring its own newest one.

        Raises:
            WireError: a site that does not say how many entries that had, or whose word of it is none.
            IdentityError: another's word.
            AuditError: a word on an account that was set back.
        """
        if not isinstance(size := content.get("size"), int):
            raise WireError("'size' is missing, expected how many entries the site has seen.")
        if statement := content.get("witness"):
            # What other sites are shown as this site's word must be signed by this site: no member speaks for another.
            identity = {site: self.home.identities()[site]}
            WitnessStatement.load_verified(json.dumps(statement).encode(), identity, self.home.log.origin)
            write_json(self.home.live / "witnesses" / f"{site}.json", statement, durably=False)
        accounts = SiteAccounts(self.home)
        if account := content.get("account"):
            accounts.take(site, json.dumps(account).encode())
        statements = {path.stem: glance(path) for path in (self.home.live / "witnesses").glob("*.json")}
        others = [statement for name, statement in sorted(statements.items()) if statement and name != site]
        return {**self._log_proofs.head_with_proofs(size, others), "accounts": accounts.newest()}

    def roster_and_plans(self, site: str) -> Json:
        """Roster and plans for one site, with this machine's release, code and time."""
        runs = [(run, run.state) for run in Run.all(self.home) if site in run.plan.content.cohort]
        plans = [run.plan.document.encode().decode() for run, state in runs if state.stage not in OVER]
        return {
            "roster": base64.b64encode(self.home.consortium.roster).decode(),
            "plans": plans,
            "stages": _stages(site, runs),
            "rekeys": [paper.decode() for paper in self.home.rekeys()],
            "roots": [change.document.encode().decode() for change in self.home.root_changes],
            "address": self.home.moved.read_text(encoding="utf-8") if self.home.moved.exists() else "",
            "release": VERSION,
            "code": code_digest(),
            "now_s": time.time(),
        }

    def take_decision(self, site: str, content: Json) -> Json:
        """Take a site's decision on a plan.

        Raises:
            WireError: if it is no decision.
            IdentityError: if it is not this site's.
            PlanError: for a plan that is over, or was not for this site.
        """
        decision = Decision.load_verified(json.dumps(content).encode(), self.home.identities()[site])
        if decision.site != site:
            raise IdentityError("other-site", f"a decision of {decision.site}, brought by {site}.")
        run = Run.find(self.home, decision.plan)
        if run.plan.digest != decision.plan:
            raise PlanError(f"a decision on {decision.plan[:64]!r}, expected the whole digest of a plan.")
        if site not in run.plan.content.cohort or run.state.stage in OVER:
            raise PlanError(f"plan {run.name} is over, or {site} was not asked.")
        facts = {"site": site, "verdict": decision.verdict}
        self.home.log.record("decision received", plan=run.name, facts=facts)
        write_json(run.folder / "decisions" / f"{site}.json", content)
        return {"taken": decision.verdict}

    def take_activity(self, site: str, content: Json) -> Json:
        """Take what a site says of itself.

        Raises:
            WireError: no report.
        """
        SiteReports(self.home).take(site, content)
        return {}

    def catalogue(self, site: str, _: Json) -> Json:
        """What all offer, signed; and by name the versions that this site's next entries must have."""
        catalogue = Catalogue(self.home)
        return {"catalogue": catalogue.listing().document.to_json(), "next": catalogue.next_versions(site)}

    def take_offer(self, site: str, content: Json) -> Json:
        """Take what a site offers, or that it withdraws it.

        Raises:
            WireError, IdentityError, CatalogueError: as `Catalogue.take`.
        """
        return {"taken": Catalogue(self.home).take(site, json.dumps(content).encode()).content.address}

    def take_package_piece(self, site: str, content: Json) -> Json:
        """Take the next piece of a package that a site will offer; says how much of it is here."""
        sha256, offset = _package_offset(content)
        try:
            data = base64.b64decode(content.get("data", ""), validate=True)
        except (TypeError, ValueError):
            raise WireError("'data': expected bytes as base64.") from None
        return {"here": Catalogue(self.home).packages.deposit(site, sha256, offset, data)}

    def package_piece(self, _: str, content: Json) -> Json:
        """A piece of a package that is offered."""
        sha256, offset = _package_offset(content)
        return {"data": base64.b64encode(Catalogue(self.home).piece(sha256, offset)).decode()}


def _package_offset(content: Json) -> tuple[str, int]:
    """Of which package, and from which byte on."""
    sha256, offset = content.get("sha256"), content.get("offset")
    # The digest becomes a file name: 64 hexadecimal digits lead to no other folder.
    if not (isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)):
        raise WireError("'sha256': expected 64 hexadecimal digits.")
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < 2**40:
        raise WireError("'offset': expected a number of bytes.")
    return sha256, offset


def _stages(site: str, runs: Iterable[tuple[Run, RunState]]) -> dict[str, str]:
    """In what stage the runs are that a site was asked for, by digest; those that ended lately among them."""
    stages, since_s = dict[str, str](), time.time() - LATELY_S
    for run, state in runs:
        if state.stage not in OVER or state.ended_s > since_s:
            is_without = state.stage == "running" and state.cohort and site not in state.cohort
            stages[run.plan.digest] = "without" if is_without else state.stage
    return stages
