"""The catalogue as this site is shown it, held against what it saw before; and files, sent and fetched in pieces.

catalogue/listing       the newest that was seen
catalogue/own/NAME      what this site offers, as it signed it
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.home import Home
from common.catalogue.listing import Listing
from common.catalogue.offers import PIECE, FileOffer, Offer, OfferContent
from common.errors import CatalogueError, WireError
from common.storage.files import replace
from common.trust.documents import read_document

if TYPE_CHECKING:
    from client.connection.gateway_client import (
        GatewayClient,  # and Flower with it, for which a command that only reads here should not wait
    )

ASK = "Telephone the coordinator."

Advance = Callable[[int], None]
"""Is told how many more bytes went."""


@dataclass(frozen=True)
class SiteCatalogue:
    """What this site knows of the catalogue."""

    home: Home

    @property
    def folder(self) -> Path:
        """The folder in which this site keeps it."""
        return self.home.folder / "catalogue"

    def last_listing(self) -> Listing | None:
        """As it was seen last."""
        path = self.folder / "listing"
        return Listing.load_verified(path.read_bytes(), self.home.pins) if path.exists() else None

    def look(self, gateway: "GatewayClient") -> tuple[Listing, dict[str, int]]:
        """The catalogue now, and by name the versions that this site's next entries must have.

        Raises:
            CatalogueError: it contradicts what was seen before, or lacks what this site offers.
            LinkError, IdentityError, WireError, PolicyError: as of the gateway, and for signatures that do not hold.
        """
        answer = gateway.catalogue()
        listing = Listing.load_verified(json.dumps(answer.get("catalogue")).encode(), self.home.pins)
        self._refuse_contradiction(listing)
        replace(self.folder / "listing", listing.document.encode())
        return listing, self._next(answer.get("next"))

    def offer(self, gateway: "GatewayClient", content: OfferContent) -> Offer:
        """Sign an entry, and hand it in.

        Raises:
            CatalogueError, LinkError, WireError: it is not taken, and why; nothing has changed then.
        """
        offer = Offer.make(content, [self.home.identity])
        (self.folder / "own").mkdir(mode=0o700, parents=True, exist_ok=True)
        gateway.offer(offer.document.to_json())
        replace(self.folder / "own" / content.name, offer.document.encode())
        return offer

    def own_offers(self) -> Iterator[OfferContent]:
        """What this site has signed, by name, under the key that it has now."""
        me = {self.home.site: self.home.identity.public_key().public_bytes_raw()}
        for path in sorted((self.folder / "own").glob("*")):
            paper = read_document(path, "offer")
            if set(paper.signatures) == set(me.values()):  # else of the keys before: nobody takes it any more
                with suppress(CatalogueError):  # of another release
                    yield Offer.load_verified(path.read_bytes(), self.home.pins, me).content

    def _refuse_contradiction(self, listing: Listing) -> None:
        before, roster = self.last_listing(), self.home.roster
        if listing.roster.version < roster.version:
            raise CatalogueError(
                f"the catalogue stands on roster {listing.roster.version}; {roster.version} is known. {ASK}"
            )
        if before and listing.version < before.version:
            raise CatalogueError(
                f"the catalogue has {listing.version} entries and withdrawals; this site saw {before.version}. {ASK}"
            )
        moment = (listing.version, listing.roster.version)
        if before and moment == (before.version, before.roster.version) and _digests(listing) != _digests(before):
            raise CatalogueError(f"of one version of the catalogue this site was shown two. {ASK}")
        there = {offer.content.name: offer for offer in listing.offers if offer.content.owner == self.home.site}
        for content in self.own_offers():
            current = there.get(content.name)
            if current is None or current.content.version < content.version:
                raise CatalogueError(f"the catalogue does not have what this site offers: {content.address}. {ASK}")

    def _next(self, versions: Any) -> dict[str, int]:
        own_versions = {content.name: content.version + 1 for content in self.own_offers()}
        try:
            there = {str(name): int(version) for name, version in versions.items()}
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise WireError("the coordinator's catalogue is of another release. Bring both sides to one.") from None
        return {name: max(own_versions.get(name, 1), there.get(name, 1)) for name in {*own_versions, *there}}


def send(gateway: "GatewayClient", package: bytes, advance: Advance) -> None:
    """Send a file that will be offered; one that was cut off goes on where it was."""
    sha256, here = hashlib.sha256(package).hexdigest(), 0
    while here < len(package):
        piece = package[here : here + PIECE]
        answer = gateway.deposit({"sha256": sha256, "offset": here, "data": base64.b64encode(piece).decode()})
        there = answer.get("here")
        if not isinstance(there, int) or not 0 <= there <= len(package) or there == here:
            raise WireError("the coordinator does not say how much of the package it has. Offer it again.")
        advance(there - here)
        here = there


def fetch(gateway: "GatewayClient", offer: FileOffer, folder: Path, advance: Advance) -> Path:
    """A file that is offered, whole, in a new file in a folder; the caller names it.

    Raises:
        CatalogueError: it is not the one that its entry names.
    """
    digest, there = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".package-", delete=False) as file:
        path = Path(file.name)
        try:
            while there < offer.size:
                piece = _bytes(gateway.package({"sha256": offer.sha256, "offset": there}).get("data"))
                if not piece or there + len(piece) > offer.size:
                    raise CatalogueError(f"the file is not of the size that its entry names. {ASK}")
                digest.update(piece)
                file.write(piece)
                advance(len(piece))
                there += len(piece)
            if digest.hexdigest() != offer.sha256:
                raise CatalogueError(f"the file is not the one that its entry names. {ASK}")
        except BaseException:
            path.unlink()
            raise
    return path


def _bytes(encoded: object) -> bytes:
    try:
        return base64.b64decode(str(encoded), validate=True)
    except ValueError:
        raise WireError("a piece of a package that is none. Take it again.") from None


def _digests(listing: Listing) -> list[str]:
    return [offer.digest for offer in listing.offers]
