"""What a participant answers: a message that can be had only by recording the state that remembers it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.secagg.state import ParticipantState

if TYPE_CHECKING:
    from common.secagg.participant import Participant


@dataclass(frozen=True)
class PendingMessage:
    """A message that may leave only when the state that remembers it is safe."""

    _site: "Participant"
    _message: bytes | memoryview = field(repr=False)

    @property
    def participant(self) -> "Participant":
        """The participant as it will be, to look at."""
        return self._site

    def commit(self, record: Callable[[ParticipantState], None]) -> tuple["Participant", bytes | memoryview]:
        """Record the state durably, and only then hand out the message.

        Args:
            record: writes the state durably, sealed, before it returns; if it raises, nothing is released.

        Returns:
            The site to go on with, and the message to send.
        """
        record(self._site.state)
        return self._site, self._message
