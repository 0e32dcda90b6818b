"""The coordinator moves: its new address, signed by the roots. Keys, TLS authority and all else stay."""

import re
from dataclasses import dataclass
from typing import Self

from common.errors import WireError
from common.trust.documents import SignedDocument, read_document, sign_document
from common.trust.joining import ADDRESS
from common.trust.roster import Pins


@dataclass(frozen=True)
class AddressChange:
    """Where the gateway is from now on."""

    number: int
    """Rises with every move, for it is the time in seconds since 1970: an older word is never believed again."""
    address: str
    """host:port"""
    document: SignedDocument

    @classmethod
    def draw_up(cls, consortium: str, number: int, address: str) -> Self:
        """What the roots sign; nobody has yet."""
        return cls._of(sign_document("address", {"consortium": consortium, "number": number, "address": address}, ()))

    @classmethod
    def load_verified(cls, file: bytes, pins: Pins) -> Self:
        """A move that all roots have signed.

        Raises:
            WireError: it is none, or another consortium's.
            IdentityError: a root has not signed it.
        """
        change = cls._of(read_document(file, "address"))
        change.document.verify(pins.roots, "the consortium's root")
        if change.document.content["consortium"] != pins.federation:
            raise WireError(f"an address of another consortium than '{pins.federation}'. Ask the coordinator.")
        return change

    @classmethod
    def load(cls, file: bytes) -> Self:
        """A move that was verified before it was written here."""
        return cls._of(read_document(file, "address"))

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        try:
            number, address = int(document.content["number"]), str(document.content["address"])
            if number < 1 or not re.fullmatch(ADDRESS, address):
                raise ValueError
            return cls(number, address, document)
        except (KeyError, TypeError, ValueError):
            raise WireError("an address that is none, or of another release. Ask the coordinator.") from None
