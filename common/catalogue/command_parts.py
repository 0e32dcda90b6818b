"""What people type of the catalogue, the same at a site and at the server."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from common.catalogue import listing_view
from common.catalogue.listing import Listing
from common.catalogue.offer_from_file import Descriptions, as_configuration
from common.catalogue.offers import EncoderOffer, ModelOffer, OfferContent
from common.cli import terminal
from common.encoders import encoder_file, encoder_library
from common.errors import CatalogueError, ConfigError
from common.package import SUFFIX
from common.storage import tensorfile

NEEDS = {
    "show": "what is offered: lisbon/chest",
    "take": "what is offered: a model, an encoder or a plan",
    "offer": "what to offer",
    "withdraw": "what of your own to withdraw",
    "read": "the file of an exported catalogue",
    "export": "the file to write: NAME.json or NAME.html",
}


def arguments(parser: argparse.ArgumentParser, *actions: str) -> None:
    """Of the command `catalogue`; without an action it lists."""
    parser.add_argument("action", nargs="?", choices=actions, metavar="ACTION", help=", ".join(actions))
    parser.add_argument("what", nargs="?", metavar="WHAT", help="what ACTION is about")
    parser.add_argument("--name", default="", help="offer: in the catalogue (that of the thing itself)")
    parser.add_argument("--title", default="", metavar="TEXT", help="offer: a line")
    parser.add_argument("--description", default="", metavar="TEXT", help="offer: what others should know")
    parser.add_argument("--contact", default="", metavar="TEXT", help="offer: whom to ask")
    parser.add_argument("--yes", action="store_true", help="offer, withdraw: without being asked; for scripts")
    parser.add_argument("--out", type=Path, metavar="FILE", help="take: where to (its name)")


def what(options: argparse.Namespace) -> str:
    """What the action is about.

    Raises:
        ConfigError: it is missing.
    """
    if not options.what:
        raise ConfigError(f"catalogue {options.action}: WHAT is missing; expected {NEEDS[options.action]}.")
    return str(options.what)


def descriptions(options: argparse.Namespace) -> Descriptions:
    """What the options say of an entry."""
    return Descriptions(options.name, options.title, options.description, options.contact)


def confirm_offer(options: argparse.Namespace, content: OfferContent) -> None:
    """Show all that an entry tells, and ask.

    Raises:
        ConfigError: the answer is no, or nobody can be asked.
    """
    print(listing_view.render_offer(content))
    print(f"\nAll members of {content.consortium} will see this, and whoever they show the catalogue to.")
    if options.yes or (sys.stdin.isatty() and input("Offer it? [yes/no] ").strip().lower() in ("yes", "y")):
        return
    raise ConfigError("nothing was offered: answer yes at a terminal, or give --yes in a script.")


def render_listing(listing: Listing, console: Console) -> None:
    """Everything, and how to go on."""
    console.print(listing_view.tables(listing))
    if listing.unread:
        console.print(f"{listing.unread} of another release, which this one cannot read, and does not show.")
    summary = f"{listing_view.summary(listing.offers)}; {listing_view.day(listing.made_s)}"
    console.print(f"{summary}. Everything about one: catalogue show NAME. {listing_view.RESEARCH}", highlight=False)


def target(options: argparse.Namespace, content: OfferContent) -> Path:
    """Where what is taken goes.

    Raises:
        CatalogueError: it is nothing that can be taken.
        ConfigError: the file is there already.
    """
    kind = content.offer.kind
    if kind not in ("model", "plan"):
        raise CatalogueError(f"{content.address}: {listing_view.STAY} Expected a model, an encoder or a plan.")
    stem = content.offer.model if isinstance(content.offer, ModelOffer) else content.name
    path: Path = options.out or Path(stem + (SUFFIX if kind == "model" else ".yaml"))
    if path.exists():
        raise ConfigError(f"{path}: exists already, and is not written over. Give another file with --out.")
    return path


def keep_encoder(content: OfferContent, offer: EncoderOffer, file: bytes) -> None:
    """An encoder that is offered, into this machine's library: nothing in it is executed.

    Raises:
        CatalogueError: it is not the file that its entry names, or describes itself otherwise.
        EncoderError: it is none.
    """
    encoder = encoder_file.parse(file, content.address)
    if (encoder.sha256, encoder.about) != (offer.sha256, offer.about):
        raise CatalogueError(f"{content.address}: its file is another than its entry names. Do not use it.")
    print(f"Kept in {encoder_library.add(encoder)}: {offer.about.name}, {offer.size:,} bytes.")
    print(f"  licence     {offer.about.licence}\n  trained on  {offer.about.trained_on}")
    print(f"A configuration names it in its preprocessing: {{step: embed, encoder: {offer.about.name}}}.")
    terminal.console().print(encoder_file.TRUST, highlight=False)


def write_plan(path: Path, content: OfferContent) -> None:
    """A plan that is offered, as a configuration."""
    tensorfile.write_atomically(path, as_configuration(content, path).encode())
    print(f"Written to {path}: the coordinator asks for it with `python -m server run {terminal.word(path)}`.")
