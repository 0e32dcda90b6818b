"""The command `catalogue` of `python -m server`."""

import argparse
import base64
from pathlib import Path

from common.catalogue import EncoderOffer, ModelOffer, Offer, command_parts, listing_view
from common.catalogue.offer_from_file import of_file
from common.catalogue.offers import WithdrawnOffer, withdrawal
from common.cli import terminal
from common.cli.command import Command
from common.errors import CatalogueError, ConfigError
from common.storage import tensorfile
from common.trust.cosigning import RootPaper, SigningRequest
from server.catalogue.catalogue import Catalogue
from server.consortium.arguments import add_root
from server.consortium.home import Home
from server.consortium.signing import Finish, Rest, request_of, sign

CATALOGUE = """What partners offer: data sets, described and counted (no image leaves); models, encoders, plans.

  python -m server catalogue                                  all of it
  python -m server catalogue show lisbon/chest                everything about one
  python -m server catalogue offer pneumonia.consilium        a model, in the package that `server export` wrote
  python -m server catalogue offer ours.encoder               a pretrained encoder
  python -m server catalogue offer configs/plan-template.yaml          a plan that members are invited to
  python -m server catalogue withdraw pneumonia-1a2b3c4d
  python -m server catalogue take lisbon/ours                 a plan to run, a member's model, an encoder
  python -m server catalogue export catalogue.json            signed, for partners: python -m client catalogue read
  python -m server catalogue export catalogue.html            the same to look at

What a hospital offers is its own decision, and signed by it: python -m client catalogue offer. docs/catalogue.md has
the rest."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    command_parts.arguments(parser, "show", "take", "offer", "withdraw", "export")
    add_root(parser)


def _run(options: argparse.Namespace) -> int:
    catalogue = Catalogue(Home.at(options.home))
    if options.action is None:
        command_parts.render_listing(catalogue.listing(), terminal.console())
        return 0
    return {"show": _show, "take": _take, "offer": _offer, "withdraw": _withdraw, "export": _export}[options.action](
        catalogue, options
    )


def _show(catalogue: Catalogue, options: argparse.Namespace) -> int:
    print(listing_view.render_offer(catalogue.listing().find(command_parts.what(options)).content))
    return 0


def _take(catalogue: Catalogue, options: argparse.Namespace) -> int:
    content = catalogue.listing().find(command_parts.what(options)).content
    if isinstance(content.offer, EncoderOffer):
        command_parts.keep_encoder(content, content.offer, catalogue.package(content.offer.sha256).read_bytes())
        return 0
    path = command_parts.target(options, content)
    if isinstance(model := content.offer, ModelOffer):
        tensorfile.write_atomically(path, catalogue.package(model.sha256).read_bytes())
        print(f"Written to {path}: {model.size:,} bytes, published by '{model.publisher}'.")
    else:
        command_parts.write_plan(path, content)
    return 0


def _offer(catalogue: Catalogue, options: argparse.Namespace) -> int:
    home, path = catalogue.home, Path(command_parts.what(options))
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a package (.consilium), an encoder (.encoder) or a plan.")
    content, package = of_file(
        path, command_parts.descriptions(options), home.pins.federation, "", catalogue.next_versions("")
    )
    command_parts.confirm_offer(options, content)
    return _sign(catalogue, options, Offer.make(content, ()), package)


def _sign(catalogue: Catalogue, options: argparse.Namespace, offer: Offer, package: bytes = b"") -> int:
    """Have an entry signed, and put it into the catalogue; where a root is missing, say who."""
    home, content = catalogue.home, offer.content
    name = f"offer-{content.name}"[:56] + f"-{content.version}"
    request = request_of(home, "offer", name, [RootPaper.of(offer.document)])
    rest = {"package": base64.b64encode(package).decode()}
    print(sign(home, request, rest, home.root_keys(*options.root), _finish_offer).words)
    return 0


def _finish_offer(home: Home, request: SigningRequest, rest: Rest) -> str:
    (paper,) = request.papers
    content = Catalogue(home).take("", paper.file, base64.b64decode(rest["package"])).content
    if isinstance(content.offer, WithdrawnOffer):
        return f"Withdrawn: {content.name}. Who has read it knows it all the same."
    return f"\nOffered as {content.address}, version {content.version}."


FINISH: dict[str, Finish] = {"offer": _finish_offer}


def _withdraw(catalogue: Catalogue, options: argparse.Namespace) -> int:
    name = command_parts.what(options)
    own_offers = {o.content.name: o.content for o in catalogue.listing().offers if not (o.content.owner or o.withdrawn)}
    if name not in own_offers:
        raise CatalogueError(
            f"{name}: the consortium itself offers no such thing; it offers {', '.join(own_offers) or 'nothing'}. What "
            "a site offers it withdraws itself."
        )
    return _sign(catalogue, options, Offer.make(withdrawal(own_offers[name]), ()))


def _export(catalogue: Catalogue, options: argparse.Namespace) -> int:
    path, listing = Path(command_parts.what(options)), catalogue.listing()
    if path.suffix not in (".json", ".html"):
        raise ConfigError(f"{path}: expected NAME.json, signed, or NAME.html, to look at.")
    if path.suffix == ".html":
        from server.report import catalogue_page as pages

        tensorfile.write_atomically(path, pages.page(listing))
        print(f"Written to {path}.")
        return 0
    tensorfile.write_atomically(path, listing.document.encode())
    print(f"Written to {path}. Anywhere: python -m client catalogue read {terminal.word(path.name)}.")
    print("Its readers compare the consortium's fingerprint with you once: python -m server fingerprint")
    return 0


COMMANDS = {"catalogue": Command(CATALOGUE, _arguments, _run)}
