"""Renews the gateway's certificate in time, and says in the log what ends soon: 30, 7 and 1 days before."""

import logging
from dataclasses import dataclass, field

from common.errors import ConsiliumError
from server.consortium import certificate, expiry
from server.consortium.home import Home

log = logging.getLogger("consilium")

LOOK_EVERY_S = 600.0


@dataclass
class CertificateKeeper:
    """Looks now and then; what it says it says once for each of the days."""

    home: Home
    _next_s: float = 0.0
    _warned: set[tuple[str, int]] = field(default_factory=set)

    def turn(self, now_s: float) -> str:
        """Look, if it is time; what is wrong, or nothing.

        Args:
            now_s: seconds since 1970.
        """
        if now_s < self._next_s:
            return ""
        self._next_s = now_s + LOOK_EVERY_S
        try:
            if certificate.renew(self.home, now_s):
                self.home.log.record("certificate renewed")
                log.info("the gateway's certificate was about to expire: a new one is made")
            for one in expiry.all_of(self.home):
                days = one.days_before(now_s)
                if days is not None and (one.what, days) not in self._warned:
                    self._warned.add((one.what, days))
                    log.warning("%s", one.words(now_s))
            return ""
        except (ConsiliumError, OSError) as error:
            return str(error)
