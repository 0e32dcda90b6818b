"""The catalogue for the terminal: a table a kind, and everything about one entry."""

import time
from collections.abc import Sequence

import yaml
from rich.console import Group

from common.catalogue.listing import SHOWN, Listing
from common.catalogue.offers import DatasetOffer, ModelOffer, Offer, OfferContent, PlanOffer
from common.cli.terminal import Sheet

HEADINGS = {"dataset": "Data sets", "model": "Models", "plan": "Plans"}
COLUMNS = {
    "dataset": ("data set", "title", "images", "cases", "purposes"),
    "model": ("model", "title", "tells apart", "trained by", "licence"),
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
    told, first = content.offer, (content.address, content.title)
    if isinstance(told, DatasetOffer):
        mark = "" if told.origin == "hospital" else f", {told.origin.upper()}"
        images = " ".join(filter(None, ["/".join(told.modality), told.body_part])) + mark
        return (*first, images, cases(told), ", ".join(told.purposes))
    if isinstance(told, ModelOffer):
        return (*first, ", ".join(told.labels), TRAINED[told.trained], told.licence)
    if isinstance(told, PlanOffer):
        terms, model = told.terms, told.training.model.kind
        return (*first, terms.dataset, ", ".join(terms.labels), model, str(told.training.federation.rounds))
    return first


def tables(listing: Listing) -> Group:
    """All that is offered."""
    found: list[Sheet | str] = []
    for kind in SHOWN:
        if offers := listing.of(kind):
            table = Sheet(*COLUMNS[kind], prose=PROSE, title=HEADINGS[kind])
            for offer in offers:
                table.add(*cells(offer.content))
            found.append(table)
    return Group(*(found or ["Nothing is offered yet."]))


def facts(content: OfferContent) -> dict[str, str]:
    """What an entry says, a line a name, without its longer texts."""
    told, found = content.offer, dict[str, str]()
    if isinstance(told, DatasetOffer):
        found |= {"cases": cases(told), "people": str(told.people or ""),
                  "images": ", ".join(filter(None, [*told.modality, told.body_part])), "country": told.country,
                  "period": told.period, "purposes": ", ".join(told.purposes), "conditions": told.conditions,
                  "data set": f"{told.dataset}, by which plans ask for it"}  # fmt: skip
    elif isinstance(told, ModelOffer):
        found |= {"tells apart": ", ".join(told.labels), "model": told.architecture,
                  "images": f"{size(told.shape)} after its preprocessing", "licence": told.licence,
                  "publisher": f"{told.publisher}, fingerprint {told.fingerprint}",
                  "package": f"{told.package[:16]}…, {told.size:,} bytes"}  # fmt: skip
    elif isinstance(told, PlanOffer):
        terms = told.terms
        found |= {"data set": terms.dataset, "purpose": terms.purpose, "tells apart": ", ".join(terms.labels),
                  "images": f"{size(terms.shape)} after preprocessing",
                  "model": f"{told.training.model.kind}, {told.training.federation.rounds} rounds at most",
                  "sites": ", ".join(terms.cohort) or "all members"}  # fmt: skip
    found |= {"contact": content.contact, "version": f"{content.version}, of {day(content.made_s)}"}
    return {name: said for name, said in found.items() if said}


def doubt(content: OfferContent) -> str:
    """Why it is nothing real; empty if it is."""
    told = content.offer
    if isinstance(told, DatasetOffer) and told.origin != "hospital":
        return ORIGINS[told.origin]
    return TRAINED[told.trained] if isinstance(told, ModelOffer) and told.trained != "federation" else ""


def render_offer(content: OfferContent) -> str:
    """Everything that an entry says."""
    lines = [f"{content.address}: {content.title}, by {content.by}", ""]
    lines += [f"NOT REAL: {doubt(content)}.", ""] if doubt(content) else []
    lines += [f"{name:12} {said}" for name, said in facts(content).items()]
    lines += ["", content.description] if content.description else []
    if isinstance(told := content.offer, ModelOffer):
        lines += ["", told.card.rstrip()]
    elif isinstance(told, PlanOffer):
        lines += ["", training(told).rstrip()]
    elif isinstance(told, DatasetOffer):
        lines += ["", STAY]
    return "\n".join(lines)


def training(plan: PlanOffer) -> str:
    """What a plan would train, YAML."""
    return yaml.safe_dump(
        plan.training.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
    )


def cases(told: DatasetOffer) -> str:
    """Cases by class, as far as they are told."""
    return ", ".join(f"{span} {label}" for span, label in zip(told.cases, told.labels, strict=True))


def size(shape: Sequence[int]) -> str:
    """Height, width and channels."""
    return "×".join(map(str, shape))


def day(at_s: float) -> str:
    """A date, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))


def summary(offers: Sequence[Offer]) -> str:
    """How much there is of each kind."""
    counted = [sum(offer.content.offer.kind == kind for offer in offers) for kind in SHOWN]
    words = zip(counted, ("data set", "model", "plan"), strict=True)
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in words)
