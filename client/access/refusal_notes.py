"""Which refusals at a site's door go into its log, which never shrinks: the first of each kind, and then a number."""

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field

MOST, HOUR_S = 5, 3600.0
"""So many entries of a kind an hour."""


@dataclass
class RefusalNotes:
    """Who sends many fills no disk, and hides nothing: how many were left out stands in the kind's next entry."""

    _kinds: dict[Hashable, tuple[float, int]] = field(default_factory=dict)
    """When a kind's hour began, and how many came in it. Of kinds there are as many as people and rows of the table."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def surplus(self, kind: Hashable) -> int | None:
        """How many of a kind were left out before this one; None: this one is left out as well."""
        now = time.monotonic()
        with self._lock:
            begun_s, count = self._kinds.get(kind, (now, 0))
            if now - begun_s >= HOUR_S:
                self._kinds[kind] = now, 1
                return max(0, count - MOST)
            self._kinds[kind] = begun_s, count + 1
            return 0 if count < MOST else None
