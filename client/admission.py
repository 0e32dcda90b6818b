"""That a person may give one command at one site: checked once, and handed on. Without one no key of a site opens.

`client.access.gate` alone makes admissions, and a test holds it to that. Python cannot keep code of the same process
from making its own; what it can is to have every function that opens something ask for one, by its type.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from client.memory_guard import shut_memory
from common.errors import AccessError

_MADE_BY_THE_GATE = object()


@dataclass(frozen=True)
class Admission:
    """Who was let in, where, for what, and under which version of the site's policy."""

    folder: Path
    """Of the site: it opens no other's keys."""
    action: str
    """The row of `client.access.permissions.RULES`."""
    person: str
    role: str
    policy: int
    uid: int
    """The system user who asked."""
    _origin: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._origin is not _MADE_BY_THE_GATE:
            raise AccessError(f"{self.action}: an admission that no gate made.")

    @classmethod
    def grant(cls, folder: Path, action: str, person: str, role: str, policy: int, uid: int) -> Self:
        """For the gate, when it has checked that the person may, or that there is no policy yet."""
        shut_memory()  # of a process that opens keys from now on
        return cls(folder.resolve(), action, person, role, policy, uid, _MADE_BY_THE_GATE)

    def for_copy(self, folder: Path) -> Self:
        """For a folder that the command itself restores from this site's backup."""
        return replace(self, folder=folder.resolve())

    def demand(self, folder: Path) -> None:
        """Refuse another site's folder.

        Raises:
            AccessError: it is one.
        """
        if folder.resolve() != self.folder:
            raise AccessError(
                f"{folder}: {self.person} was let in at {self.folder}, and this is another site's folder."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # To processes that this one starts for the same command.
        return Admission.grant, (self.folder, self.action, self.person, self.role, self.policy, self.uid)
