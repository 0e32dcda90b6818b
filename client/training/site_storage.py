"""Where a real site's half of the protocol is kept: one sealed file a run, under a lock that all processes share."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from common.secagg.state import ParticipantState
from common.storage import file_lock, tensorfile
from common.trust.keys import seal_state, unseal_state

PROTOCOL_1 = b"CSA1"


@dataclass(frozen=True)
class SealedStateFile:
    """A `StateStore` on a site's disk."""

    path: Path
    key: bytes = field(repr=False)

    def record(self, state: ParticipantState) -> None:
        """Write it; after a crash at any moment the file holds the old state or the new one."""
        tensorfile.write_atomically(self.path, seal_state(state.encode(), self.key))

    def load(self) -> ParticipantState:
        """As it was recorded last; a fresh one where there is none, or one of release 0.1, whose rounds are over.

        Raises:
            IdentityError: for a damaged file, or another site's.
        """
        try:
            content = unseal_state(self.path.read_bytes(), self.key)
        except FileNotFoundError:
            return ParticipantState()
        return ParticipantState() if content.startswith(PROTOCOL_1) else ParticipantState.decode(content)

    def lock(self) -> AbstractContextManager[object]:
        """As `StateStore.lock`, for all processes of this machine."""
        return file_lock.hold(self.path.with_name(self.path.name + ".lock"))
