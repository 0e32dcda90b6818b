"""What a partner offers to all others: one signed entry of the catalogue.

It is signed by the site whose it is, or by the consortium's roots: who passes it on can change nothing in it. A later
version takes the place of the one before, and a withdrawal is a version too, so that an old one does not come back.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError, model_validator

from common.config import Frozen, PlanTerms, Shape, Training, first_fault
from common.encoders import EncoderAbout
from common.errors import CatalogueError, IdentityError
from common.package.package_content import Digest, Word
from common.trust.documents import SignedDocument, read_document, sign_document
from common.trust.roster import Pins

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
FEW = 10
"""Fewer cases of a class than this are never told, unless a site wants its counts exact."""
MOST_BYTES = 48 * 1024
"""One entry with its signatures."""
PIECE = 256 * 1024
"""Bytes of a file that go in one message."""

Name = Annotated[str, Field(pattern=NAME)]
Line = Annotated[str, Field(max_length=200, pattern=r"^[^\n]*$")]
Title = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\n]*$")]
Prose = Annotated[str, Field(max_length=4000)]
Modality = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{1,15}$")]
"""As DICOM has it: CR and DX radiographs, CT, MR, US ultrasound, MG mammograms, XA, NM, PT …"""
Origin = Literal["hospital", "simulated", "synthetic"]
"""The hospital's own images; a part that a program dealt to it out of a data set; images that a program drew."""
Cases = Annotated[int, Field(strict=True, ge=0, le=10**9)]


class DatasetDescription(Frozen):
    """What a hospital says of a data set that it offers: `about` in site.yaml."""

    title: Title
    description: Annotated[Prose, Field(min_length=1)]
    modality: Annotated[tuple[Modality, ...], Field(min_length=1, max_length=8)]
    body_part: Line = ""
    country: Line = ""
    period: Line = ""
    """When the images were taken: 2018 to 2024."""
    conditions: Line = ""
    """Under which it may be used: an ethics vote, a data use agreement."""
    contact: Line = ""
    purposes: Annotated[tuple[Title, ...], Field(max_length=20)] | None = None
    """What plans may use it for; none given: what the site's policy allows."""
    counts: Literal["rounded", "exact"] = "rounded"
    """How cases are told: within two digits, and fewer than ten not at all; or exactly."""


class Span(Frozen):
    """A number of cases or people, told no closer than it may be: from `least` to `most`."""

    least: Cases
    most: Cases

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.most < self.least:
            raise ValueError("most is less than least")
        return self

    @classmethod
    def of(cls, count: int, *, exact: bool = False) -> Self:
        """A count, exact or to two digits; fewer than ten are only told to be that."""
        if exact:
            return cls(least=count, most=count)
        step = max(FEW, 10 ** (len(str(count)) - 2))
        return cls(least=count - count % step, most=count - count % step + step - 1)

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:,}"
        return f"{self.least:,} to {self.most:,}" if self.least else f"fewer than {self.most + 1}"


class DatasetOffer(Frozen):
    """Images that stay where they are: what a plan could ask for."""

    kind: Literal["dataset"] = "dataset"
    dataset: Name
    """Under which plans ask for it."""
    modality: tuple[Modality, ...]
    body_part: Line
    country: Line
    period: Line
    conditions: Line
    purposes: tuple[Title, ...]
    labels: Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000)]
    cases: tuple[Span, ...]
    """Of every class, in the order of the labels."""
    people: Span | None
    """None: the data do not name patients."""
    origin: Origin

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.cases) != len(self.labels):
            raise ValueError("cases: expected one number for every label")
        return self


class FileOffer(Frozen):
    """A file that the coordinator holds for all members."""

    sha256: Digest
    """Of the file."""
    size: Annotated[int, Field(strict=True, ge=1, le=2**30)]
    """In bytes."""


class ModelOffer(FileOffer):
    """A model in a package (docs/sharing.md)."""

    kind: Literal["model"] = "model"
    model: Name
    package: Digest
    """The package's own name for itself: digest of what its publisher signed."""
    architecture: Line
    labels: Annotated[tuple[Word, ...], Field(min_length=2, max_length=1000)]
    shape: Shape
    publisher: Word
    fingerprint: Annotated[str, Field(pattern=r"^(\d{5} ){5}\d{5}$")]
    trained: Literal["federation", "simulation", "synthetic"]
    licence: Word
    card: Annotated[str, Field(max_length=20_000)]
    """The model card, Markdown."""


class EncoderOffer(FileOffer):
    """A pretrained encoder (docs/encoders.md)."""

    kind: Literal["encoder"] = "encoder"
    about: EncoderAbout


class PlanOffer(Frozen):
    """A training that somebody would like to see done; it becomes one when the coordinator has it signed."""

    kind: Literal["plan"] = "plan"
    training: Training
    terms: PlanTerms


class WithdrawnOffer(Frozen):
    """What stands in the place of an offer that was withdrawn."""

    kind: Literal["withdrawn"] = "withdrawn"


class OfferContent(Frozen):
    """The content of a catalogue entry: what its owner signs."""

    consortium: Word
    owner: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?$")]
    """A site; empty: the consortium itself."""
    name: Name
    version: Annotated[int, Field(strict=True, ge=1, le=10**6)]
    made_s: Annotated[float, Field(ge=0, le=1e11)]
    title: Line
    description: Prose
    contact: Line
    offer: Annotated[DatasetOffer | ModelOffer | EncoderOffer | PlanOffer | WithdrawnOffer, Field(discriminator="kind")]

    @property
    def address(self) -> str:
        """Its name in the catalogue: `lisbon/chest`; of what the consortium offers the name alone."""
        return f"{self.owner}/{self.name}" if self.owner else self.name

    @property
    def by(self) -> str:
        """The owner's name, as people read it: a site, or the consortium."""
        return self.owner or self.consortium


@dataclass(frozen=True)
class Offer:
    """An entry with the signed document that it stands in."""

    content: OfferContent
    document: SignedDocument

    @property
    def digest(self) -> str:
        """The entry's name for itself: the digest of what was signed, 64 hexadecimal digits."""
        return self.document.digest.hex()

    @classmethod
    def make(cls, content: OfferContent, keys: Sequence[Ed25519PrivateKey]) -> Self:
        """An entry under a site's identity, or the roots.

        Raises:
            CatalogueError: it is too long.
            WireError: a text moves the cursor, or turns its direction.
        """
        document = sign_document("offer", content.model_dump(mode="json"), keys)
        if len(document.encode()) > MOST_BYTES:
            raise CatalogueError(
                f"{content.address}: {len(document.encode()):,} bytes, expected {MOST_BYTES:,} at most. Shorten its "
                "description, or the model's card."
            )
        return cls(content, document)

    @staticmethod
    def load_verified(file: bytes, pins: Pins, members: Mapping[str, bytes]) -> "Offer":
        """An entry that its owner has signed.

        Args:
            members: identities of the consortium's active members.

        Raises:
            WireError, CatalogueError: it is none, or another consortium's.
            IdentityError: its owner is no active member, or has not signed it.
        """
        return _load_verified(file, pins, tuple(sorted(members.items())))

    @property
    def withdrawn(self) -> bool:
        """Whether nothing is offered any more."""
        return isinstance(self.content.offer, WithdrawnOffer)


@lru_cache(maxsize=1024)
def _load_verified(file: bytes, pins: Pins, members: tuple[tuple[str, bytes], ...]) -> Offer:
    """Checked once, wherever it is asked for."""
    if len(file) > MOST_BYTES:
        raise CatalogueError(f"an entry of {len(file):,} bytes, expected {MOST_BYTES:,} at most.")
    document = read_document(file, "offer")
    try:
        content = OfferContent.model_validate(document.content)
    except ValidationError as error:
        raise CatalogueError(f"an entry of another release: {first_fault(error)}. Bring both sides to one.") from None
    if content.consortium != pins.federation:
        raise CatalogueError(f"{content.address}: an entry for {content.consortium}, and this is {pins.federation}.")
    keys = [key for site, key in members if site == content.owner] if content.owner else list(pins.roots)
    if not keys:
        raise IdentityError("unknown-site", f"{content.address}: {content.owner} is no active member.")
    document.verify(keys, content.by)
    return Offer(content, SignedDocument("offer", document.content, {key: document.signatures[key] for key in keys}))


def withdrawal(content: OfferContent) -> OfferContent:
    """The next version of an entry, in which nothing is offered."""
    bare = {"description": "", "contact": "", "offer": WithdrawnOffer()}
    return content.model_copy(update=bare | {"version": content.version + 1, "made_s": time.time()})
