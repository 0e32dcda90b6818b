"""A site's word that it was shown a head. All others are handed it, so that no two are shown different histories."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.heads import MOST_S, LogHead
from common.audit.merkle_tree import HASH_BYTES
from common.errors import IdentityError, WireError
from common.trust.documents import SignedDocument, read_document, sign_document

NO_ACCOUNTS: Mapping[str, float] = {}


@dataclass(frozen=True)
class WitnessStatement:
    """That a site saw so many entries under this root, and when it last saw that."""

    site: str
    origin: str
    """The log whose head was seen."""
    size: int
    root: bytes
    at_s: float
    accounts: Mapping[str, float]
    """Of every other site, the most that its word on its account has come to (`AccountStatement.total`)."""
    document: SignedDocument

    @classmethod
    def sign(
        cls, site: str, head: LogHead, identity: Ed25519PrivateKey, accounts: Mapping[str, float] = NO_ACCOUNTS,
        at_s: float | None = None,
    ) -> Self:  # fmt: skip
        """Of a head that was checked against all that this site saw before.

        Args:
            at_s: when the log was last seen to go on from it, if not now.
        """
        content: dict[str, Any] = {"site": site, "origin": head.origin, "size": head.size, "root": head.root.hex()}
        content |= {"at_s": time.time() if at_s is None else at_s, "accounts": dict(accounts)}
        return cls._of(sign_document("witness", content, [identity]))

    @classmethod
    def load_verified(cls, file: bytes, members: Mapping[str, bytes], origin: str) -> Self:
        """A member's word on this log.

        Raises:
            WireError: it is none, or of another log.
            IdentityError: no member's under its key.
        """
        statement = cls._of(read_document(file, "witness"))
        if statement.origin != origin:
            raise WireError(f"a word on the log of {statement.origin}, expected that of {origin}.")
        if (key := members.get(statement.site)) is None:
            raise IdentityError("unknown-site", f"{statement.site}: is no active member, and cannot be a witness.")
        statement.document.verify([key], statement.site)
        return statement

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        content: dict[str, Any] = document.content
        try:
            size, root, at_s = int(content["size"]), bytes.fromhex(content["root"]), float(content["at_s"])
            accounts = {str(name): float(total) for name, total in content.get("accounts", {}).items()}
            if size < 0 or len(root) != HASH_BYTES or not 0 <= at_s < MOST_S:
                raise ValueError
            if not all(0 <= total < math.inf for total in accounts.values()):
                raise ValueError
            return cls(str(content["site"]), str(content["origin"]), size, root, at_s, accounts, document)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise WireError("a witness's word of another release. Bring both sides to one.") from None
