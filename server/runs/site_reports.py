"""What sites report that they are doing: taken by the gateway, a small file for each site, shown by `status`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import WireError
from common.storage.files import glance, write_json
from server.consortium.home import Home

ACTIVITIES = ("connecting", "idle", "reading", "unfit", "working", "sending", "waiting", "stopped")
RUNS_AT_ONCE = 4
"""Of a site that says nothing of it (`policy.runs_at_once` in its site.yaml)."""
MOST_TEXT, MOST_PLANS = 200, 100
"""Characters of a text, and plans that a site says it is ready for: a report cannot fill the coordinator's disk."""


@dataclass(frozen=True)
class SiteReports:
    """The newest report of every site, in the coordinator's folder."""

    home: Home

    def take(self, site: str, content: dict[str, Any]) -> None:
        """Write down a site's report, in place of the one before.

        Raises:
            WireError: it is none.
        """
        activity = str(content.get("what", ""))
        if activity not in ACTIVITIES:
            raise WireError(f"'what' is {activity[:20]!r}, expected one of {', '.join(ACTIVITIES)}.")
        texts = {key: str(content.get(key, ""))[:MOST_TEXT] for key in ("detail", "error", "release", "code")}
        ready = content.get("ready")
        if not (isinstance(ready, list) and len(ready) <= MOST_PLANS and all(isinstance(one, str) for one in ready)):
            raise WireError(f"'ready': expected the digests of {MOST_PLANS} plans at most, as text.")
        limit = content.get("runs", RUNS_AT_ONCE)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST_PLANS:
            raise WireError(f"'runs': expected how many runs the site takes at once, 1 to {MOST_PLANS}.")
        report = {"what": activity, "at_s": time.time(), "ready": ready, "runs": limit, **texts}
        write_json(self._path(site), report, durably=False)

    def newest(self, site: str) -> dict[str, Any]:
        """A site's newest report; empty if there is none yet."""
        return glance(self._path(site)) or {}

    def limit(self, site: str) -> int:
        """How many runs a site takes at once, as it said last."""
        return int(self.newest(site).get("runs", RUNS_AT_ONCE))

    def is_unready(self, plan: str, site: str) -> bool:
        """Whether a site has not read the images of a plan yet, or they do not fit: it is not to be asked yet.

        A site that runs Flower's SuperNode says nothing of that, and is asked.

        Args:
            plan: the plan's digest.
        """
        report = self.newest(site)
        return report.get("what", "stopped") != "stopped" and plan not in report.get("ready", ())

    def _path(self, site: str) -> Path:
        return self.home.live / "doing" / f"{site}.json"
