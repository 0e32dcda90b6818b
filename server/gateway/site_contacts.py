"""When each site was heard, since when without a break, and by which way: `live/heard.json`, which `status` shows."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import RunError
from common.storage.files import read_json, write_json

log = logging.getLogger("consilium")

BREAK_S = 45.0
"""A silence of so long is a break in a site's connection."""


class SiteContacts:
    """When sites were heard, in memory and in a file. For one event loop.

    Args:
        path: the file. Of each site it has when it was heard last (`at_s`), since when without a break (`since_s`),
            whether it takes its messages by the fast path (`short`), and when it lost its last connection, if it has
            none (`lost_s`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sites = _load(path)
        self._is_saved = True
        self._connections: Counter[str] = Counter()

    def note_request(self, site: str, now_s: float) -> None:
        """A request of the site's was verified."""
        before = self._sites.get(site, {"at_s": 0.0, "since_s": 0.0, "short": False})
        is_unbroken = now_s - before["at_s"] < BREAK_S
        self._sites[site] = before | {"at_s": now_s, "since_s": before["since_s"] if is_unbroken else now_s}
        self._is_saved = False

    def note_path(self, site: str, *, fast: bool) -> None:
        """The site takes its messages by the gateway's fast path, or as Flower has it from the SuperLink."""
        if self._sites[site].get("short") != fast:
            self._sites[site] |= {"short": fast}
            self._is_saved = False
            self.save()

    def count_connection(self, site: str, on_lost: dict[str, Callable[[], None]]) -> None:
        """Count a connection among those of a site's node, until it is lost: when a process dies, its connections end.

        Args:
            on_lost: by name what is called then; a connection counts once, however many requests come on it.
        """
        if site in on_lost:
            return
        on_lost[site] = lambda: self._lose_connection(site)
        self._connections[site] += 1
        self._sites[site].pop("lost_s", None)
        self._is_saved = False

    def save(self) -> None:
        """Write the file, if there is news."""
        if self._is_saved:
            return
        try:
            write_json(self._path, self._sites, durably=False)
            self._is_saved = True
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)

    def _lose_connection(self, site: str) -> None:
        self._connections[site] -= 1
        if not self._connections[site]:
            self._sites[site]["lost_s"] = time.time()
            self._is_saved = False


def _load(path: Path) -> dict[str, dict[str, Any]]:
    """What the process before this one wrote; nothing where that is damaged."""
    try:
        return {
            str(site): {key: float(times[key]) for key in ("at_s", "since_s")}
            for site, times in (read_json(path) or {}).items()
        }
    except (OSError, RunError, ValueError, KeyError, TypeError, AttributeError):
        return {}
