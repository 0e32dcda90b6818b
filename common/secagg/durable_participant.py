"""Holds the one current state of a site's machine, so that no step can be taken from an old one.

`Participant` is a value: whoever kept an old one could sign twice. A site that runs keeps its machine in a
`DurableParticipant` alone.
"""

from collections.abc import Callable
from threading import Lock

from common.secagg.participant import Participant
from common.secagg.pending_message import PendingMessage
from common.secagg.state import ParticipantState


class DurableParticipant:
    """A site's machine, one step at a time.

    Args:
        site: as it was started or restored.
        record: writes a state durably, sealed, before it returns.
    """

    def __init__(self, site: Participant, record: Callable[[ParticipantState], None]) -> None:
        self._site, self._record, self._lock = site, record, Lock()

    @property
    def participant(self) -> Participant:
        """The machine as it is now, to look at."""
        return self._site

    def step(self, take: Callable[[Participant], PendingMessage]) -> bytes | memoryview:
        """Take a step from the current state, record it, and only then hand out the message to send.

        Raises:
            SecAggError, WireError, QuorumError, WeightsError: as the step; nothing has changed then.
            OSError: if the state cannot be recorded; nothing is handed out then.
        """
        with self._lock:
            self._site, message = take(self._site).commit(self._record)
            return message

    def open(self, start: bytes, question: bytes, now_s: float) -> None:
        """Begin a round, as `Participant.open`."""
        with self._lock:
            self._site = self._site.open(start, question, now_s)
