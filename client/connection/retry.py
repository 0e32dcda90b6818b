"""The line to the coordinator is kept for ever: what fails is tried again, and people are told why it does not work."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from client.connection.fleet_client import Clock, Endpoint, NobodyWaitsError
from common.errors import LinkError

log = logging.getLogger("consilium")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0

T = TypeVar("T")
Activity = Literal["connecting", "idle", "working", "sending", "waiting"]


@dataclass(frozen=True)
class ConnectionStatus:
    """What the site is doing, for people: nothing of the data, no secret."""

    what: Activity
    """connecting: not known to the coordinator yet; waiting: for the next message of a run; idle: for a run."""
    detail: str = ""
    since_s: float = 0.0
    """Since when, in seconds since 1970."""
    error: str = ""
    """Why it does not get on, and what to do; empty if it does."""
    code: str = ""
    """Of that error, as docs/errors.md has it; fit to be told to the coordinator, which its text is not."""


def keep_up(work: Callable[[], None], stop: threading.Event) -> None:
    """Work until it is done or stopped: whatever the coordinator or a plan brings, no thread of a site ends by it."""
    while not stop.is_set():
        try:
            work()
            return
        except Exception:
            log.exception("a defect of this release; going on in %.0f s", LONGEST_PAUSE_S)
            stop.wait(LONGEST_PAUSE_S)


class StoppedError(Exception):
    """The process is to end."""


@dataclass
class RetryLoop:
    """Patience, and news of it.

    Args:
        folder: where the site writes what it must not forget; named to people when that fails.
        on_status: called on every change of what the site is doing.
        stop: once it is set, nothing is tried again.
    """

    endpoint: Endpoint
    folder: Path
    on_status: Callable[[ConnectionStatus], None]
    stop: threading.Event
    clock: Clock = field(default_factory=Clock)
    status: ConnectionStatus = ConnectionStatus("connecting")
    _has_warned: bool = False
    """The clock was spoken of."""

    def until_done(self, do: Callable[[], T], until_s: float = float("inf")) -> T:
        """Do it until it succeeds: whatever a network or a disk has against it may pass.

        Args:
            until_s: when it is too late, in the coordinator's seconds since 1970.

        Raises:
            NobodyWaitsError: when it is too late.
            StoppedError: when it failed, and is not to be tried again.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = do()
                self.report(self.status.what, self.status.detail)
                return result
            except LinkError as error:
                self.report(self.status.what, self.status.detail, str(error), error.code)
            except OSError as error:
                what = (
                    f"{self.folder}: {error.strerror}. Make room on this disk, or mend it; nothing is lost until then."
                )
                self.report(self.status.what, self.status.detail, what, "DISK")
            if self.stop.wait(pause_s * random.uniform(0.7, 1.0)):
                raise StoppedError
            if self.clock.now() > until_s:
                raise NobodyWaitsError("it expired while the site could not get on")
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def report(self, what: Activity, detail: str = "", error: str = "", code: str = "") -> None:
        """Tell what is new. A trouble goes to the log as well, once when it comes and once when it has passed."""
        before = self.status
        if self.clock.complaint() and not self._has_warned:
            log.warning("%s; the coordinator's time is used instead. Have it set by NTP.", self.clock.complaint())
            detail, self._has_warned = self.clock.complaint(), True
        if (what, detail, error) == (before.what, before.detail, before.error):
            return
        since_s = before.since_s if what == before.what and before.since_s else self.clock.now()
        self.status = ConnectionStatus(what, detail, since_s, error, code)
        if error and error != before.error:
            log.warning("%s", error)
        elif before.error and not error:
            log.info("that has passed; going on")
        self.on_status(self.status)
