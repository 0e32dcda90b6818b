"""Takes every step of a site's machine from the state that was recorded last, and from no other.

`Participant` is a value: whoever kept an old one could sign twice, and so could two processes that loaded the same one.
So a step is load, take, record, all under one lock; only then is its message handed out.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from common.secagg.participant import Participant
from common.secagg.pending_message import PendingMessage
from common.secagg.state import ParticipantState


class StateStore(Protocol):
    """Where a participant's state is kept."""

    def load(self) -> ParticipantState:
        """As it was recorded last; a fresh one before the first."""
        ...

    def record(self, state: ParticipantState) -> None:
        """Write it durably before this returns."""
        ...

    def lock(self) -> AbstractContextManager[object]:
        """Keeps every other thread and process away for a block; not to be entered twice."""
        ...


@dataclass
class StateInMemory:
    """A `StateStore` for as long as the program runs."""

    state: ParticipantState = field(default_factory=ParticipantState, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def load(self) -> ParticipantState:
        """As `StateStore.load`."""
        return self.state

    def record(self, state: ParticipantState) -> None:
        """As `StateStore.record`, but on no disk."""
        self.state = state

    def lock(self) -> AbstractContextManager[object]:
        """As `StateStore.lock`, for the threads of this process."""
        return self._lock


class DurableParticipant:
    """A site's machine, one step at a time.

    Args:
        restore: the participant as it was when the state was recorded.
        store: where its state is.
    """

    def __init__(self, restore: Callable[[ParticipantState], Participant], store: StateStore) -> None:
        self._restore, self.store = restore, store
        self._last: Participant | None = None

    @property
    def participant(self) -> Participant:
        """The machine as it was recorded last, to look at; a step is taken from it in `step` alone."""
        state = self.store.load()
        if self._last is None or self._last.state is not state:
            self._last = self._restore(state)
        return self._last

    def step(self, take: Callable[[Participant], PendingMessage]) -> bytes | memoryview:
        """Take a step from the recorded state, record what follows, and only then hand out the message to send.

        Raises:
            SecAggError, WireError, QuorumError, WeightsError: as the step; nothing has changed then.
            OSError: if the state cannot be recorded; nothing is handed out then.
        """
        with self.store.lock():
            self._last, message = take(self.participant).commit(self.store.record)
            return message
