"""Signed heads of a log: who keeps one can hold the log to it for ever.

The coordinator's are signed by a key of its own, which lies with the running processes; the roots vouch for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.merkle_tree import HASH_BYTES, Frontier, verify_consistency
from common.errors import AuditError, WireError
from common.trust.documents import SignedDocument, read_document, sign_document
from common.trust.keys import KEY_BYTES
from common.trust.roster import Pins

MOST_S = 1e11


@dataclass(frozen=True)
class LogHead:
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
    document: SignedDocument

    @classmethod
    def sign(cls, origin: str, frontier: Frontier, length: int, at_s: float, keys: Sequence[Ed25519PrivateKey]) -> Self:
        """The head of a log as it is now."""
        peaks = [peak.hex() for peak in frontier.peaks]
        content: dict[str, Any] = {"origin": origin, "size": frontier.size, "root": frontier.root.hex()}
        content |= {"length": length, "peaks": peaks, "at_s": at_s}
        return cls._of(sign_document("head", content, keys))

    @classmethod
    def load_verified(cls, file: bytes, key: bytes, origin: str) -> Self:
        """A head of this log, that the holder of the key has signed.

        Raises:
            WireError: it is none.
            IdentityError: another key's.
            AuditError: another log's.
        """
        document = read_document(file, "head")
        document.verify([key], f"the keeper of the log of {origin}")
        head = cls._of(document)
        if head.origin != origin:
            raise AuditError(f"a head of the log of {head.origin}, expected that of {origin}.")
        return head

    @property
    def frontier(self) -> Frontier:
        """The edge of the tree, with which the next entry is appended."""
        return Frontier(self.size, self.peaks)

    def refuse_unless_extends(self, before: "LogHead", proof: Sequence[bytes]) -> None:
        """Refuse a log that does not begin with all that a head before was over.

        Raises:
            AuditError: it was set back, or another history was shown before.
        """
        verify_consistency(before.size, before.root, self.size, self.root, proof)

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        try:
            content = document.content
            size, length, origin, at_s = (
                int(content["size"]),
                int(content["length"]),
                str(content["origin"]),
                float(content["at_s"]),
            )
            root, peaks = bytes.fromhex(content["root"]), tuple(bytes.fromhex(peak) for peak in content["peaks"])
            if (
                size < 0
                or length < 0
                or not 0 <= at_s < MOST_S
                or len(root) != HASH_BYTES
                or Frontier(size, peaks).root != root
            ):
                raise ValueError
            return cls(origin, size, root, length, peaks, at_s, document)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise WireError("a head of a log of another release. Bring both sides to one.") from None


def log_key_paper(key: bytes, consortium: str, roots: Sequence[Ed25519PrivateKey] = ()) -> SignedDocument:
    """The roots' word that a public key signs the heads of the coordinator's log."""
    return sign_document("audit-key", {"consortium": consortium, "key": key.hex()}, roots)


def load_verified_log_key(file: bytes, pins: Pins) -> bytes:
    """The public key that the roots vouch for.

    Raises:
        WireError: it is no such document.
        IdentityError: a root has not signed it.
        AuditError: it is another consortium's.
    """
    document = read_document(file, "audit-key")
    content = document.verify(pins.roots, "the consortium's root")
    try:
        key, consortium = bytes.fromhex(content["key"]), str(content["consortium"])
        if len(key) != KEY_BYTES:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise WireError("an audit key of another release. Bring both sides to one.") from None
    if consortium != pins.federation:
        raise AuditError(f"an audit key of '{consortium}', and this is '{pins.federation}'.")
    return key
