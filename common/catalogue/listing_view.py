"""The catalogue for the terminal: a table a kind, and everything about one entry."""

import time
from collections.abc import Sequence

import yaml
from rich.console import Group

from common.catalogue.listing import SHOWN, Listing
from common.catalogue.offers import DatasetOffer, EncoderOffer, ModelOffer, Offer, OfferContent, PlanOffer
from common.cli.terminal import Sheet

HEADINGS = {"dataset": "Data sets", "model": "Models", "encoder": "Encoders", "plan": "Plans"}
COLUMNS = {
    "dataset": ("data set", "title", "images", "cases", "purposes"),
    "model": ("model", "title", "tells apart", "trained by", "licence"),
    "encoder": ("encoder", "title", "numbers an image", "licence"),
    "plan": ("plan", "title", "data set", "tells apart", "model", "rounds"),
}
PROSE = ("title", "images", "cases", "purposes", "tells apart", "trained by")
ORIGINS = {
    "hospital": "the hospital's own images",
    "simulated": "SIMULATED, a part that a program dealt out of a data set",
    "synthetic": "SYNTHETIC, images that a program drew, no patients",
}
TRAINED = {
    "federation": "hospitals together",
    "simulation": "a SIMULATION on one machine",
    "synthetic": "a SIMULATION on SYNTHETIC images",
}
STAY = "The images stay at the hospital: it is asked by a plan, and decides."
RESEARCH = "Research software, not a medical device."


def cells(content: OfferContent) -> tuple[str, ...]:
    """What the table says of an entry, a text a column."""
    offer, first = content.offer, (content.address, content.title)
    if isinstance(offer, DatasetOffer):
        mark = "" if offer.origin == "hospital" else f", {offer.origin.upper()}"
        images = " ".join(filter(None, ["/".join(offer.modality), offer.body_part])) + mark
        return (*first, images, cases(offer), ", ".join(offer.purposes))
    if isinstance(offer, ModelOffer):
        return (*first, ", ".join(offer.labels), TRAINED[offer.trained], offer.licence)
    if isinstance(offer, EncoderOffer):
        return (*first, str(offer.about.dimensions()), offer.about.licence)
    if isinstance(offer, PlanOffer):
        terms, model = offer.terms, offer.training.model.kind
        return (*first, terms.dataset, ", ".join(terms.labels), model, str(offer.training.federation.rounds))
    return first


def tables(listing: Listing) -> Group:
    """The catalogue as tables, one for data sets, models, encoders and plans each."""
    parts: list[Sheet | str] = []
    for kind in SHOWN:
        if offers := listing.of(kind):
            table = Sheet(*COLUMNS[kind], prose=PROSE, title=HEADINGS[kind])
            for offer in offers:
                table.add(*cells(offer.content))
            parts.append(table)
    return Group(*(parts or ["Nothing is offered yet."]))


def facts(content: OfferContent) -> dict[str, str]:
    """What an entry says, a line a name, without its longer texts."""
    offer, rows = content.offer, dict[str, str]()
    if isinstance(offer, DatasetOffer):
        rows |= {"cases": cases(offer), "people": str(offer.people or ""),
                  "images": ", ".join(filter(None, [*offer.modality, offer.body_part])), "country": offer.country,
                  "period": offer.period, "purposes": ", ".join(offer.purposes), "conditions": offer.conditions,
                  "data set": f"{offer.dataset}, by which plans ask for it"}  # fmt: skip
    elif isinstance(offer, ModelOffer):
        rows |= {"tells apart": ", ".join(offer.labels), "model": offer.architecture,
                  "images": f"{size(offer.shape)} after its preprocessing", "licence": offer.licence,
                  "publisher": f"{offer.publisher}, fingerprint {offer.fingerprint}",
                  "package": f"{offer.package[:16]}…, {offer.size:,} bytes"}  # fmt: skip
    elif isinstance(offer, EncoderOffer):
        about = offer.about
        rows |= {"encoder": about.name, "licence": about.licence, "source": about.source,
                 "trained on": about.trained_on, "layers": about.all_layers,
                 "file": f"SHA-256 {offer.sha256}, {offer.size:,} bytes"}  # fmt: skip
    elif isinstance(offer, PlanOffer):
        terms = offer.terms
        rows |= {"data set": terms.dataset, "purpose": terms.purpose, "tells apart": ", ".join(terms.labels),
                  "images": f"{size(terms.shape)} after preprocessing",
                  "model": f"{offer.training.model.kind}, {offer.training.federation.rounds} rounds at most",
                  "sites": ", ".join(terms.cohort) or "all members"}  # fmt: skip
    rows |= {"contact": content.contact, "version": f"{content.version}, of {day(content.made_s)}"}
    return {name: text for name, text in rows.items() if text}


def doubt(content: OfferContent) -> str:
    """Why it is nothing real; empty if it is."""
    offer = content.offer
    if isinstance(offer, DatasetOffer) and offer.origin != "hospital":
        return ORIGINS[offer.origin]
    return TRAINED[offer.trained] if isinstance(offer, ModelOffer) and offer.trained != "federation" else ""


def render_offer(content: OfferContent) -> str:
    """Everything that an entry says."""
    lines = [f"{content.address}: {content.title}, by {content.by}", ""]
    lines += [f"NOT REAL: {doubt(content)}.", ""] if doubt(content) else []
    lines += [f"{name:12} {text}" for name, text in facts(content).items()]
    lines += ["", content.description] if content.description else []
    if isinstance(offer := content.offer, ModelOffer):
        lines += ["", offer.card.rstrip()]
    elif isinstance(offer, PlanOffer):
        lines += ["", training(offer).rstrip()]
    elif isinstance(offer, DatasetOffer):
        lines += ["", STAY]
    return "\n".join(lines)


def training(plan: PlanOffer) -> str:
    """What a plan would train, YAML."""
    return yaml.safe_dump(
        plan.training.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
    )


def cases(offer: DatasetOffer) -> str:
    """Cases by class, as far as they are told."""
    return ", ".join(f"{span} {label}" for span, label in zip(offer.cases, offer.labels, strict=True))


def size(shape: Sequence[int]) -> str:
    """Height, width and channels."""
    return "×".join(map(str, shape))


def day(at_s: float) -> str:
    """A date, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))


def summary(offers: Sequence[Offer]) -> str:
    """How much there is of each kind."""
    counts = [sum(offer.content.offer.kind == kind for offer in offers) for kind in SHOWN]
    words = zip(counts, ("data set", "model", "encoder", "plan"), strict=True)
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in words)
