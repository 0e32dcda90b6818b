"""The catalogue as a page: what partners offer, a card an entry; and in short for the live page."""

from common.catalogue import EncoderOffer, Listing, ModelOffer, Offer, PlanOffer, listing_view
from common.catalogue.listing import SHOWN
from common.catalogue.offers import OfferContent
from common.web.markup import Child, document, el, style

NOTHING = "Nothing is offered yet."
HOW = (
    ("A hospital offers a data set, a model, an encoder or a plan: ", "python -m client catalogue offer NAME_OR_FILE"),
    ("The consortium offers a model, an encoder or a plan: ", "python -m server catalogue offer FILE"),
)


def page(listing: Listing) -> bytes:
    """The catalogue as a page that loads nothing."""
    kind = el("p", f"Catalogue of {listing.consortium}", class_="kind")
    end = el("p", listing_view.RESEARCH, class_="soft")
    return document(f"Catalogue of {listing.consortium}", style(), kind, *content(listing), end)


def content(listing: Listing, find: Child = None) -> list[Child]:
    """The elements of the page, or of a part of the live page.

    Args:
        find: a box to find entries with, where there is a script that does so.
    """
    body: list[Child] = [el("h1", "What partners offer")]
    summary = (
        f"{listing_view.summary(listing.offers)}, as of {listing_view.day(listing.made_s)}, version {listing.version}."
    )
    body.append(el("p", summary, " Images are described and counted; none is here, and none leaves its hospital.",
                   class_="lead"))  # fmt: skip
    there = {kind: offers for kind in SHOWN if (offers := listing.of(kind))}
    body.append(find if there else el("p", NOTHING))
    for kind, offers in there.items():
        cards = el("div", *map(_card, offers), class_="cards")
        body.append(el("section", el("h2", listing_view.HEADINGS[kind], id=kind), cards, aria_labelledby=kind))
    body.append(el("h2", "To add something"))
    body.append(el("ul", *(el("li", summary, el("code", command)) for summary, command in HOW)))
    return [*body, el("p", "Every entry is signed by whose it is, and the listing by the coordinator.", class_="soft")]


def anchor(entry: OfferContent) -> str:
    """An entry's place on the page."""
    return f"of-{entry.address}"


def _card(offer: Offer) -> Child:
    entry = offer.content
    doubt, facts = listing_view.doubt(entry), listing_view.facts(entry).items()
    return el(
        "article",
        el("h3", entry.title),
        el("p", el("code", entry.address), f" by {entry.by}", class_="soft"),
        el("p", f"Not real: {doubt}.", class_="warn") if doubt else None,
        *(el("p", part) for part in entry.description.split("\n\n") if part),
        el("dl", *(el("div", el("dt", name), el("dd", text)) for name, text in facts), class_="facts"),
        *_more(entry),
        id=anchor(entry),
    )  # fmt: skip


def _more(entry: OfferContent) -> list[Child]:
    """What is long of an entry, folded away."""
    offer = entry.offer
    if isinstance(offer, ModelOffer):
        get = el("p", "A member gets it: ", el("code", f"python -m client catalogue take {entry.address}"))
        return [get, el("details", el("summary", "Model card"), el("pre", offer.card))]
    if isinstance(offer, EncoderOffer):
        return [el("p", "A member gets it: ", el("code", f"python -m client catalogue take {entry.address}"))]
    if isinstance(offer, PlanOffer):
        get = el("p", "To run it: ", el("code", f"python -m server catalogue take {entry.address}"))
        return [get, el("details", el("summary", "The training"), el("pre", listing_view.training(offer)))]
    return []
