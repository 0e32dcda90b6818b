"""Signed heads of a log: who keeps one can hold the log to it for ever.

The coordinator's are signed by a key of its own, which lies with the running processes; the roots vouch for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.merkle_tree import HASH_BYTES, Frontier, verify_consistency
from common.errors import AuditError, WireError
from common.secagg import Pins
from common.trust import documents
from common.trust.documents import Paper
from common.trust.keys import KEY_BYTES

MOST_S = 1e11


@dataclass(frozen=True)
class Head:
    """So many entries, and the root over them."""

    origin: str
    """Whose log: `site lisbon`, `consortium pilot`."""
    size: int
    root: bytes
    length: int
    """Bytes of the file `log`."""
    peaks: tuple[bytes, ...]
    """With which the next entry is appended without reading those before it."""
    at_s: float
    """When the last entry was made, in seconds since 1970, by the log's own clock."""
    paper: Paper

    @classmethod
    def sign(cls, origin: str, frontier: Frontier, length: int, at_s: float, keys: Sequence[Ed25519PrivateKey]) -> Self:
        """The head of a log as it is now."""
        peaks = [peak.hex() for peak in frontier.peaks]
        told: dict[str, Any] = {"origin": origin, "size": frontier.size, "root": frontier.root.hex()}
        told |= {"length": length, "peaks": peaks, "at_s": at_s}
        return cls._of(documents.signed("head", told, keys))

    @classmethod
    def admitted(cls, file: bytes, key: bytes, origin: str) -> Self:
        """A head of this log, that the holder of the key has signed.

        Raises:
            WireError: it is none.
            IdentityError: another key's.
            AuditError: another log's.
        """
        paper = documents.read(file, "head")
        paper.demand([key], f"the keeper of the log of {origin}")
        head = cls._of(paper)
        if head.origin != origin:
            raise AuditError(f"a head of the log of {head.origin}, expected that of {origin}.")
        return head

    @property
    def frontier(self) -> Frontier:
        """To append with."""
        return Frontier(self.size, self.peaks)

    def refuse_unless_extends(self, before: "Head", proof: Sequence[bytes]) -> None:
        """Refuse a log that does not begin with all that a head before was over.

        Raises:
            AuditError: it was set back, or another history was shown before.
        """
        verify_consistency(before.size, before.root, self.size, self.root, proof)

    @classmethod
    def _of(cls, paper: Paper) -> Self:
        try:
            told = paper.content
            size, length, origin, at_s = (
                int(told["size"]),
                int(told["length"]),
                str(told["origin"]),
                float(told["at_s"]),
            )
            root, peaks = bytes.fromhex(told["root"]), tuple(bytes.fromhex(peak) for peak in told["peaks"])
            if (
                size < 0
                or length < 0
                or not 0 <= at_s < MOST_S
                or len(root) != HASH_BYTES
                or Frontier(size, peaks).root != root
            ):
                raise ValueError
            return cls(origin, size, root, length, peaks, at_s, paper)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise WireError("a head of a log of another release. Bring both sides to one.") from None


def vouch(key: bytes, consortium: str, roots: Sequence[Ed25519PrivateKey]) -> bytes:
    """The roots' word that a public key signs the heads of the coordinator's log, as a file."""
    return documents.signed("audit-key", {"consortium": consortium, "key": key.hex()}, roots).encode()


def vouched(file: bytes, pins: Pins) -> bytes:
    """The public key that the roots vouch for.

    Raises:
        WireError: it is no such paper.
        IdentityError: a root has not signed it.
        AuditError: it is another consortium's.
    """
    paper = documents.read(file, "audit-key")
    told = paper.demand(pins.roots, "the consortium's root")
    try:
        key, consortium = bytes.fromhex(told["key"]), str(told["consortium"])
        if len(key) != KEY_BYTES:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise WireError("an audit key of another release. Bring both sides to one.") from None
    if consortium != pins.federation:
        raise AuditError(f"an audit key of '{consortium}', and this is '{pins.federation}'.")
    return key
