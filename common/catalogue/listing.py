"""The whole catalogue at one moment, signed by the coordinator, with all that is needed to check it.

It stands on the pinned roots alone: they signed the roster in it, by which every entry is its owner's, and the word for
the key of the coordinator's log, which signs the listing. So whoever pinned the roots can read it, a member or not.
"""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.heads import load_verified_log_key
from common.catalogue.offers import FileOffer, Offer
from common.errors import CatalogueError, ConsiliumError
from common.trust.documents import MOST_BYTES, SignedDocument, read_document, sign_document
from common.trust.roster import Pins, Roster, load_verified_roster

MOST_BYTES = MOST_BYTES
LAST_S = 1e11
"""Later than this nothing was made, and no calendar has it."""
SHOWN = ("dataset", "model", "encoder", "plan")
"""Kinds, in the order in which people see them."""


@dataclass(frozen=True)
class Listing:
    """The whole catalogue as the coordinator signed it: all entries, each of them checked."""

    consortium: str
    version: int
    """How many entries and withdrawals were ever taken: it only rises."""
    made_s: float
    roster: Roster
    offers: tuple[Offer, ...]
    """The newest of each address, with what was withdrawn, by address."""
    unread: int
    """Entries of another release, which this one cannot read and leaves out."""
    document: SignedDocument

    @classmethod
    def sign(
        cls, pins: Pins, roster: bytes, voucher: bytes, version: int, offers: Sequence[Offer], key: Ed25519PrivateKey
    ) -> Self:
        """Sign the catalogue as it is now.

        Args:
            roster: the signed file.
            voucher: the roots' word for `key`.

        Raises:
            CatalogueError: it would be refused for its size.
        """
        content: dict[str, Any] = {"consortium": pins.federation, "version": version, "made_s": round(time.time(), 3)}
        content["roots"] = [root.hex() for root in pins.roots]
        content |= {"roster": base64.b64encode(roster).decode(), "voucher": json.loads(voucher)}
        content["offers"] = [offer.document.to_json() for offer in offers]
        document = sign_document("catalogue", content, [key])
        if len(document.encode()) > MOST_BYTES:
            raise CatalogueError(
                f"the catalogue has {len(document.encode()):,} bytes, expected {MOST_BYTES:,} at most."
            )
        return cls(
            pins.federation, version, content["made_s"], load_verified_roster(roster, pins), tuple(offers), 0, document
        )

    @classmethod
    def load_verified(cls, file: bytes, pins: Pins) -> Self:
        """A listing of this consortium in which every signature holds.

        Entries of another release, which this one cannot read, are left out and counted.

        Raises:
            WireError, CatalogueError: it is none, or of another consortium, or an address stands twice in it.
            IdentityError, PolicyError: a signature that does not hold.
        """
        document = read_document(file, "catalogue")
        content = document.content
        try:
            key = load_verified_log_key(json.dumps(content["voucher"]).encode(), pins)
            roster = load_verified_roster(base64.b64decode(content["roster"], validate=True), pins)
            entries = [json.dumps(one).encode() for one in content["offers"]]
            version, made_s, consortium = int(content["version"]), float(content["made_s"]), str(content["consortium"])
            if not 0 <= made_s <= LAST_S:
                raise ValueError(made_s)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise CatalogueError("a catalogue of another release. Bring both sides to one.") from None
        document.verify([key], "the coordinator")
        if consortium != pins.federation:
            raise CatalogueError(f"the catalogue of {consortium}, and this is {pins.federation}.")
        offers = tuple(one for one in (_readable(document, pins, roster) for document in entries) if one)
        if len({offer.content.address for offer in offers}) < len(offers):
            raise CatalogueError("the catalogue has an entry twice. Tell the coordinator.")
        return cls(consortium, version, made_s, roster, offers, len(entries) - len(offers), document)

    def of(self, kind: str) -> list[Offer]:
        """What is offered of a kind, by address."""
        return of_kind(self.offers, kind)

    def of_file(self, sha256: str) -> list[Offer]:
        """What is offered as the file of this SHA-256, or of one that begins so (8 digits at least), a file once."""
        offers: dict[str, Offer] = {}
        for one in self.offers if len(sha256) >= 8 else ():
            if isinstance(file := one.content.offer, FileOffer) and file.sha256.startswith(sha256):
                offers.setdefault(file.sha256, one)
        return list(offers.values())

    def find(self, address: str) -> Offer:
        """What is offered under an address, or under so much of its end or beginning as is unique; a file also under
        its SHA-256.

        Raises:
            CatalogueError: nothing, or several.
        """
        there = [offer for kind in SHOWN for offer in self.of(kind)]
        exact = [o for o in there if o.content.address == address]
        near = exact or [o for o in there if o.content.address.startswith(address) or o.content.name == address]
        near = near or self.of_file(address)
        if len(near) != 1:
            addresses = ", ".join(o.content.address for o in near or there) or "nothing yet"
            raise CatalogueError(
                f"{address}: {'several' if near else 'nothing'} of that name; offered is: {addresses}."
            )
        return near[0]


def _readable(document: bytes, pins: Pins, roster: Roster) -> Offer | None:
    """An entry; none where it is of a release that writes entries otherwise."""
    try:
        return Offer.load_verified(document, pins, roster.active)
    except CatalogueError:
        return None


def of_kind(offers: Sequence[Offer], kind: str) -> list[Offer]:
    """What is offered of a kind, by address."""
    return sorted((one for one in offers if one.content.offer.kind == kind), key=lambda one: one.content.address)


def roots_named(file: bytes) -> Pins:
    """The consortium and the roots that a listing names, for whoever compares their fingerprint next.

    Raises:
        WireError, CatalogueError: it is no listing.
    """
    content = read_document(file, "catalogue").content
    try:
        return Pins(str(content["consortium"]), tuple(bytes.fromhex(root) for root in content["roots"]))
    except (KeyError, TypeError, ValueError):
        raise CatalogueError("a catalogue of another release. Bring both sides to one.") from None


def newest(files: Sequence[bytes], pins: Pins, roster: Roster) -> list[Offer]:
    """The newest entry of each address, of those that hold under this roster.

    Whoever got new keys, or was suspended, has no entry any more that anybody could check: they are left out.

    Args:
        files: in the order in which they were taken.

    Raises:
        WireError: one is damaged.
    """
    offers_by_address: dict[str, Offer | None] = {}
    for file in files:
        entry = read_document(file, "offer").content
        address = f"{entry['owner']}/{entry['name']}"
        try:
            offers_by_address[address] = Offer.load_verified(file, pins, roster.active)
        except ConsiliumError:  # or of a release before
            offers_by_address[address] = None
    return [offer for _, offer in sorted(offers_by_address.items()) if offer]
