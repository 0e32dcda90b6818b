"""Entries for what lies in a file: a package, an encoder, or a configuration with a section `plan`."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from common import config as configuration
from common.catalogue import listing_view
from common.catalogue.offers import DatasetOffer, EncoderOffer, ModelOffer, OfferContent, PlanOffer
from common.config import Cnn, Config, Training, first_fault
from common.encoders import encoder_file
from common.errors import CatalogueError
from common.package import SUFFIX, ModelPackage, package_file
from common.package.package_file import CARD

REHEARSAL = """# {address} of the catalogue of {consortium}, version {version} of {day}.
# {title}
#
# To ask the sites for it: python -m server run {file}
# Every site has images of its own. The phantoms here are for a rehearsal: python simulate.py {file}
"""


@dataclass(frozen=True)
class Descriptions:
    """What people say of an entry; what is empty is made up from the thing itself."""

    name: str = ""
    title: str = ""
    description: str = ""
    contact: str = ""


def of_file(
    path: Path, descriptions: Descriptions, consortium: str, owner: str, versions: dict[str, int]
) -> tuple[OfferContent, bytes]:
    """The entry of a package, an encoder or a configuration, and the file that the coordinator is to hold, if any.

    Args:
        versions: by name, the version that the next entry must have.

    Raises:
        CatalogueError, ConfigError, EncoderError, PackageError: it is none of them, or cannot be offered.
    """
    file = b""
    offer: ModelOffer | EncoderOffer | PlanOffer
    if path.suffix == SUFFIX:
        model_package = package_file.read_package(path)
        file = path.read_bytes()
        offer = _model(model_package, file)
        name = model_package.content.name
        title = f"Tells {' from '.join(model_package.content.labels)}"
    elif path.suffix == encoder_file.SUFFIX:
        encoder = encoder_file.read_encoder(path)
        file = path.read_bytes()
        offer = EncoderOffer(sha256=encoder.sha256, size=len(file), about=encoder.about)
        name, title = encoder.about.name, f"Sees {encoder.about.dimensions()} numbers in an image"
    else:
        config = configuration.load(path)
        offer = _plan(path, config)
        name, terms = config.name, offer.terms
        title = f"{config.model.kind.upper()} that tells {' from '.join(terms.labels)} on {terms.dataset}"
    completed = Descriptions(
        descriptions.name or name, descriptions.title or title[:120], descriptions.description, descriptions.contact
    )
    return offer_content(consortium, owner, completed, offer, versions), file


def offer_content(
    consortium: str,
    owner: str,
    descriptions: Descriptions,
    offer: DatasetOffer | ModelOffer | EncoderOffer | PlanOffer,
    versions: dict[str, int],
) -> OfferContent:
    """What is to be signed.

    Raises:
        CatalogueError: a text that is too long, or a name that cannot be one.
    """
    fields = {
        "consortium": consortium,
        "owner": owner,
        "name": descriptions.name,
        "version": versions.get(descriptions.name, 1),
    }
    fields |= {"made_s": round(time.time(), 3), "title": descriptions.title, "description": descriptions.description}
    try:
        return OfferContent.model_validate(
            fields | {"contact": descriptions.contact, "offer": offer.model_dump(mode="json")}
        )
    except ValidationError as error:
        raise CatalogueError(f"{first_fault(error)} (got {error.errors()[0]['input']!r}).") from None


def as_configuration(content: OfferContent, file: Path) -> str:
    """A plan that is offered, as a configuration that `server run` and `simulate.py` read."""
    if not isinstance(plan := content.offer, PlanOffer):
        raise CatalogueError(f"{content.address}: is a {content.offer.kind}, expected a plan.")
    # YAML ends a comment at other characters too than a line feed: what follows them would be configuration.
    header = {"address": content.address, "consortium": content.consortium, "title": content.title, "file": file.name}
    words = {name: " ".join(text.split()) for name, text in header.items()}
    head = REHEARSAL.format(version=content.version, day=listing_view.day(content.made_s), **words)
    tree = plan.training.model_dump(mode="json", exclude_defaults=True)
    tree |= {"data": {"kind": "synthetic"}, "sites": {"split": "natural"}}
    tree["plan"] = plan.terms.model_dump(mode="json", exclude_defaults=True)
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _model(package: ModelPackage, file: bytes) -> ModelOffer:
    content = package.content
    return ModelOffer(
        model=content.name[:63], package=package.digest, sha256=hashlib.sha256(file).hexdigest(), size=len(file),
        architecture=f"cnn, {content.model.architecture}" if isinstance(content.model, Cnn) else content.model.kind,
        labels=content.labels, shape=content.shape, publisher=content.publisher.name, fingerprint=package.fingerprint,
        trained=content.provenance.kind, licence=content.licence, card=package.members[CARD].decode()[:20_000],
    )  # fmt: skip


def _plan(path: Path, config: Config) -> PlanOffer:
    """The training and its terms: `data` and `sites` name files of whoever offers it, and stay there."""
    if config.plan is None:
        raise CatalogueError(
            f"{path}: has no section `plan`; expected dataset, labels and shape there: docs/deploy.md."
        )
    training = config.model_dump(mode="json", include=set(Training.model_fields))
    return PlanOffer(training=Training.model_validate(training), terms=config.plan)
