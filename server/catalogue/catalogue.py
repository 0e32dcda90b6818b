"""The coordinator's catalogue: takes what members offer, keeps every version of it, and shows all of it signed.

catalogue/000001.json …     entries and withdrawals in the order in which they were taken, none ever changed
catalogue/packages/         the files that are offered, and incoming/: server/catalogue/packages.py
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from common.catalogue import DatasetOffer, FileOffer, Listing, Offer, OfferContent, WithdrawnOffer
from common.catalogue.listing import newest
from common.catalogue.offers import PIECE
from common.errors import AuditError, CatalogueError, IdentityError
from common.plans.plan import PlanContent
from common.storage import tensorfile
from common.storage.run_folder import lock_folder
from common.trust.documents import read_document
from common.trust.roster import Pins, load_verified_roster
from server.catalogue.packages import Packages
from server.consortium.home import Home

MOST_OFFERS, MOST_PAPERS = 50, 500
"""What one owner may offer at a time, and how many entries and withdrawals of one are ever taken."""
ROOM = 5 * 2**19
"""Bytes of all entries: with what stands around them they stay below what a listing may have. Half of it is whoever's
comes first; of the other half every member has its share, so that nobody can fill the catalogue for all."""
MOST_HELD = 2**31
"""Bytes of all packages that one owner offers."""
AHEAD_S = 600.0


@dataclass(frozen=True)
class Catalogue:
    """The catalogue in a coordinator's folder."""

    home: Home

    @property
    def folder(self) -> Path:
        """Where the catalogue is."""
        return self.home.folder / "catalogue"

    @property
    def packages(self) -> Packages:
        """The files of the models and encoders that are offered."""
        return Packages(self.folder)

    # --- reading ----------------------------------------------------------------------------------------------------

    def offers(self) -> tuple[Offer, ...]:
        """The newest entry of each address that holds under the roster, with what was withdrawn.

        Raises:
            WireError: a paper is damaged.
        """
        consortium = self.home.consortium
        return _newest(self.folder, *self._stamp, consortium.roster, consortium.pins)

    def listing(self) -> Listing:
        """As it is now, signed by the key of the coordinator's log.

        Raises:
            AuditError: that key is not there, or nobody vouched for it.
            WireError: a paper is damaged.
        """
        return self._sign(self._papers, self.offers())

    def _sign(self, papers: int, offers: Sequence[Offer]) -> Listing:
        consortium = self.home.consortium
        try:
            voucher = self.home.voucher.read_bytes()
        except FileNotFoundError:
            raise AuditError(
                f"{self.home.voucher}: the roots have not vouched for the key that signs the catalogue. "
                "`python -m server renew` does that."
            ) from None
        key = self.home.log.key()
        return Listing.sign(consortium.pins, consortium.roster, voucher, papers, offers, key)

    def next_versions(self, owner: str) -> dict[str, int]:
        """By name, the version that an owner's next entry must have; of names that are not here it is 1."""
        return {name: version + 1 for of, name, version in self._all_headings if of == owner}

    def package(self, sha256: str) -> Path:
        """The file of a package that is offered.

        Raises:
            CatalogueError: it is none.
        """
        if (
            sha256 in self._offered_packages() and (path := self.packages.path(sha256)).exists()
        ):  # else its owner was suspended once
            return path
        raise CatalogueError(f"package {sha256[:12]!r}…: is not offered, or not any more. Ask for the catalogue again.")

    def piece(self, sha256: str, offset: int) -> bytes:
        """Bytes of a package from an offset on, as many as go in one message."""
        with self.package(sha256).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)

    def doubts(self, plan: PlanContent) -> Iterator[str]:
        """What speaks against asking the sites of a plan, by what they offer; nothing where nobody offers anything."""
        datasets = [one.content for one in self.offers() if isinstance(one.content.offer, DatasetOffer)]
        for site in plan.cohort if datasets else ():
            offer = next(
                (entry.offer for entry in datasets if entry.owner == site and _is_data_set_of(entry, plan)), None
            )
            if not isinstance(offer, DatasetOffer):
                yield f"{site} offers no data set '{plan.dataset}' in the catalogue."
            elif offer.labels != plan.labels:
                yield f"{site}: its {plan.dataset} has the labels {', '.join(offer.labels)}, by the catalogue."
            elif plan.purpose not in offer.purposes:
                yield f"{site}: its {plan.dataset} is for {', '.join(offer.purposes) or 'nothing'}, by the catalogue."

    def countries(self, sites: Collection[str]) -> dict[str, str]:
        """In which country sites are, by what they say of the data sets that they offer."""
        pairs = [(one.content.owner, one.content.offer) for one in self.offers() if one.content.owner in sites]
        return {site: offer.country for site, offer in pairs if isinstance(offer, DatasetOffer) and offer.country}

    # --- taking -----------------------------------------------------------------------------------------------------

    def take(self, owner: str, file: bytes, package: bytes = b"") -> Offer:
        """An entry from its owner: written down in the log, and in the catalogue from now on.

        Args:
            owner: who brought it: a site; empty: the coordinator itself.
            package: the file that the coordinator offers; a site has sent it before.

        Raises:
            WireError, IdentityError: it is none, or another's.
            CatalogueError: it does not follow what is there, or its package is not here.
            RunError: somebody else is changing the catalogue.
        """
        consortium, file = self.home.consortium, read_document(file, "offer").encode()  # as it will be read again
        offer = Offer.load_verified(
            file, consortium.pins, load_verified_roster(consortium.roster, consortium.pins).active
        )
        if (content := offer.content).owner != owner:
            raise IdentityError("other-site", f"{content.address}: brought by {owner or consortium.pins.federation}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.folder, f"{self.folder}: somebody else is changing the catalogue. Try again."):
            self._refuse_unfit(offer)
            if isinstance(content.offer, FileOffer):
                self.packages.settle(owner, content.offer, content.address, package)
            facts: dict[str, int | str] = {"offer": content.address.replace("/", ":"), "version": content.version}
            facts |= {"kind": content.offer.kind, "digest": offer.digest}
            self.home.log.record("offer withdrawn" if offer.withdrawn else "offer taken", facts=facts)
            path = _paper(self.folder, self._papers + 1)
            tensorfile.write_atomically(path, offer.document.encode())
            self.packages.forget(self._offered_packages())
        return offer

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _papers(self) -> int:
        """How many entries and withdrawals were ever taken."""
        return sum(1 for _ in self.folder.glob("*.json"))

    @property
    def _stamp(self) -> tuple[int, int]:
        """How many papers there are, and when the last one was written."""
        papers = self._papers
        return papers, _paper(self.folder, papers).stat().st_mtime_ns if papers else 0

    @property
    def _all_headings(self) -> tuple[tuple[str, str, int], ...]:
        """Owner, name and version of every paper, the oldest first."""
        return _headings(self.folder, *self._stamp)

    def _offered_packages(self) -> set[str]:
        """SHA-256 of the packages that are offered."""
        return {one.content.offer.sha256 for one in self.offers() if isinstance(one.content.offer, FileOffer)}

    def _refuse_unfit(self, offer: Offer) -> None:
        content = offer.content
        next_version = self.next_versions(content.owner).get(content.name, 1)
        if content.version != next_version:
            raise CatalogueError(
                f"{content.address}: version {content.version}, expected {next_version}. Read the catalogue, and make "
                "it again."
            )
        if content.made_s > time.time() + AHEAD_S:
            raise CatalogueError(f"{content.address}: was made in the future. Set the clock of that machine.")
        if offer.withdrawn and (content.description or content.contact):
            raise CatalogueError(
                f"{content.address}: a withdrawal that describes something, expected one that does not."
            )
        later = [*(one for one in self.offers() if one.content.address != content.address), offer]
        self._sign(self._papers + 1, later)
        if not offer.withdrawn:
            self._refuse_crowding(content, later)
        if sum(of == content.owner for of, _, _ in self._all_headings) >= MOST_PAPERS:
            raise CatalogueError(
                f"{content.by} has brought {MOST_PAPERS} entries and withdrawals, the most there may be."
            )

    def _refuse_crowding(self, content: OfferContent, later: Sequence[Offer]) -> None:
        """One owner leaves room for the others; its new entry is in `later` already."""
        papers = [(one.content, len(one.document.encode())) for one in later]
        own_entries = [(one, size) for one, size in papers if one.owner == content.owner]
        there = [one.offer for one, _ in own_entries if not isinstance(one.offer, WithdrawnOffer)]
        if len(there) > MOST_OFFERS:
            raise CatalogueError(
                f"{content.by} offers {MOST_OFFERS} things, {MOST_OFFERS} at most. Withdraw one first."
            )
        packages = sum({one.sha256: one.size for one in there if isinstance(one, FileOffer)}.values())
        if packages > MOST_HELD:
            raise CatalogueError(
                f"{content.by}: packages of {packages:,} bytes, {MOST_HELD:,} at most. Withdraw one first."
            )
        share = ROOM // 2 // (len(self.home.identities()) + 1)
        if sum(size for _, size in papers) > ROOM // 2 and (own_bytes := sum(size for _, size in own_entries)) > share:
            raise CatalogueError(
                f"the catalogue is half full, and the entries of {content.by} would have {own_bytes:,} bytes, "
                f"{share:,} at most then. Withdraw one first."
            )


def _is_data_set_of(entry: OfferContent, plan: PlanContent) -> bool:
    """Whether this is the data set that a plan asks for."""
    return isinstance(entry.offer, DatasetOffer) and entry.offer.dataset == plan.dataset


def _paper(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


# Papers are added and never changed: of so many papers there is one reading, which all who ask share.


@lru_cache(maxsize=8)
def _newest(folder: Path, papers: int, _last_ns: int, roster: bytes, pins: Pins) -> tuple[Offer, ...]:
    files = [_paper(folder, number + 1).read_bytes() for number in range(papers)]
    return tuple(newest(files, pins, load_verified_roster(roster, pins)))


@lru_cache(maxsize=8)
def _headings(folder: Path, papers: int, _last_ns: int) -> tuple[tuple[str, str, int], ...]:
    contents = (read_document(_paper(folder, number + 1), "offer").content for number in range(papers))
    return tuple((heading["owner"], heading["name"], heading["version"]) for heading in contents)
