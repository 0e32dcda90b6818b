"""What the gateway tells sites and hears from them, over the coordinator's folder: papers, decisions, what they do.

All that a site can change here is its own decision on a plan that it was asked about, one small file that says what it
is doing, which `status` shows, and what it offers in the catalogue.
"""

import base64
import json
import re
import time
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
from server.consortium.log_proofs import History
from server.runs.run import OVER, Run

DOING = ("connecting", "idle", "reading", "unfit", "working", "sending", "waiting", "stopped")
MOST_TEXT, MOST_PLANS = 200, 100


@dataclass(frozen=True)
class FolderBoard:
    """The gateway's `Board`."""

    home: Home

    @cached_property
    def _history(self) -> History:
        return History(self.home)

    def history(self, site: str, told: dict[str, Any]) -> dict[str, Any]:
        """The newest head of the coordinator's log, and proof that it extends the one that the site saw last.

        Raises:
            WireError: a site that does not say how many entries that had, or whose word of it is none.
            IdentityError: another's word.
        """
        if not isinstance(seen := told.get("size"), int):
            raise WireError("'size' is missing, expected how many entries the site has seen.")
        if word := told.get("witness"):
            origin, own = self.home.log.origin, {site: self.home.identities()[site]}
            WitnessStatement.load_verified(json.dumps(word).encode(), own, origin)
            write_json(self.home.live / "witnesses" / f"{site}.json", word, durably=False)
        words = {path.stem: glance(path) for path in (self.home.live / "witnesses").glob("*.json")}
        return self._history.shown(seen, [word for name, word in sorted(words.items()) if word and name != site])

    def board(self, site: str) -> dict[str, Any]:
        """Roster and plans for one site."""
        plans = [
            run.plan.document.encode().decode()
            for run in Run.all(self.home)
            if run.state.stage not in OVER and site in run.plan.content.cohort
        ]
        return {
            "roster": base64.b64encode(self.home.consortium.roster).decode(),
            "plans": plans,
            "release": VERSION,
            "code": code_digest(),
            "now_s": time.time(),
        }

    def decision(self, site: str, told: dict[str, Any]) -> dict[str, Any]:
        """Take a site's decision on a plan.

        Raises:
            WireError: if it is no decision.
            IdentityError: if it is not this site's.
            PlanError: for a plan that is over, or was not for this site.
        """
        decision = Decision.load_verified(json.dumps(told).encode(), self.home.identities()[site])
        if decision.site != site:
            raise IdentityError("other-site", f"a decision of {decision.site}, brought by {site}.")
        run = Run.find(self.home, decision.plan)
        if run.plan.digest != decision.plan:
            raise PlanError(f"a decision on {decision.plan[:64]!r}, expected the whole digest of a plan.")
        if site not in run.plan.content.cohort or run.state.stage in OVER:
            raise PlanError(f"plan {run.name} is over, or {site} was not asked.")
        facts = {"site": site, "verdict": decision.verdict}
        self.home.log.record("decision received", plan=run.name, facts=facts)
        write_json(run.folder / "decisions" / f"{site}.json", told)
        return {"taken": decision.verdict}

    def catalogue(self, site: str, _: dict[str, Any]) -> dict[str, Any]:
        """What all offer, signed; and by name the versions that this site's next entries must have."""
        catalogue = Catalogue(self.home)
        return {"catalogue": catalogue.listing().document.to_json(), "next": catalogue.next_versions(site)}

    def offer(self, site: str, told: dict[str, Any]) -> dict[str, Any]:
        """Take what a site offers, or that it withdraws it.

        Raises:
            WireError, IdentityError, CatalogueError: as `Catalogue.take`.
        """
        return {"taken": Catalogue(self.home).take(site, json.dumps(told).encode()).content.address}

    def deposit(self, site: str, told: dict[str, Any]) -> dict[str, Any]:
        """Take the next piece of a package that a site will offer; says how much of it is here."""
        sha256, offset = _place(told)
        try:
            data = base64.b64decode(told.get("data", ""), validate=True)
        except (TypeError, ValueError):
            raise WireError("'data': expected bytes as base64.") from None
        return {"here": Catalogue(self.home).packages.deposit(site, sha256, offset, data)}

    def package(self, _: str, told: dict[str, Any]) -> dict[str, Any]:
        """A piece of a package that is offered."""
        sha256, offset = _place(told)
        return {"data": base64.b64encode(Catalogue(self.home).piece(sha256, offset)).decode()}

    def doing(self, site: str, told: dict[str, Any]) -> dict[str, Any]:
        """Take what a site says of itself."""
        what = str(told.get("what", ""))
        if what not in DOING:
            raise WireError(f"'what' is {what[:20]!r}, expected one of {', '.join(DOING)}.")
        said: dict[str, Any] = {key: str(told.get(key, ""))[:MOST_TEXT] for key in ("detail", "error", "release")}
        ready = told.get("ready")
        if not (isinstance(ready, list) and len(ready) <= MOST_PLANS and all(isinstance(one, str) for one in ready)):
            raise WireError(f"'ready': expected the digests of {MOST_PLANS} plans at most, as text.")
        write_json(self._file(site), {"what": what, "at_s": time.time(), "ready": ready, **said}, durably=False)
        return {}

    def heard(self, site: str) -> dict[str, Any]:
        """What a site said last; empty if nothing yet."""
        return glance(self._file(site)) or {}

    def unready(self, plan: str, site: str) -> bool:
        """Whether a site has not read the images of a plan yet, or they do not fit: it is not to be asked yet.

        A site that runs Flower's SuperNode says nothing of that, and is asked.
        """
        told = self.heard(site)
        return told.get("what", "stopped") != "stopped" and plan not in told.get("ready", ())

    def _file(self, site: str) -> Any:
        return self.home.live / "doing" / f"{site}.json"


def _place(told: dict[str, Any]) -> tuple[str, int]:
    """Of which package, and from which byte on."""
    sha256, offset = told.get("sha256"), told.get("offset")
    if not (isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)):
        raise WireError("'sha256': expected 64 hexadecimal digits.")
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < 2**40:
        raise WireError("'offset': expected a number of bytes.")
    return sha256, offset
