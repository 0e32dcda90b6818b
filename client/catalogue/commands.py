"""The command `catalogue` of `python -m client`."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from client.catalogue import dataset_offer
from client.catalogue.listing_check import SiteCatalogue, fetch, send
from client.home import Home, SiteFolder, home_option
from client.plans import plan_encoders
from common.catalogue import command_parts, listing_view
from common.catalogue.listing import SHOWN, Listing, roots_named
from common.catalogue.offer_from_file import of_file
from common.catalogue.offers import EncoderOffer, ModelOffer, OfferContent, withdrawal
from common.cli import terminal
from common.cli.command import Command, confirm_fingerprint
from common.cli.progress import Watch
from common.errors import CatalogueError, IdentityError, LinkError
from common.package import package_file
from common.storage.lent_path import LentPath
from common.trust.joining import consortium_fingerprint

if TYPE_CHECKING:
    from client.connection.gateway_client import GatewayClient

CATALOGUE = """What partners offer: data sets, described and counted (no image leaves); models, encoders, plans.

  python -m client catalogue                            all of it
  python -m client catalogue show lisbon/chest          everything about one
  python -m client catalogue take pneumonia-1a2b3c4d    a model as a package, or a plan as a configuration
  python -m client catalogue take efficientnet-lite0    an encoder, kept on this machine; its SHA-256 does as well
  python -m client catalogue offer chest                a data set of site.yaml, as its section `about` describes it
  python -m client catalogue offer ours.consilium       a model in a package
  python -m client catalogue offer ours.encoder         a pretrained encoder
  python -m client catalogue offer configs/plan-template.yaml    a plan that others are invited to
  python -m client catalogue withdraw chest
  python -m client catalogue read FILE                  one that somebody exported, at a site or anywhere

What this site offers it signs, after it has shown all that will be told. Cases are counted here, and told to two
digits, fewer than ten not at all, unless `about` has `counts: exact`. docs/catalogue.md has the rest."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    command_parts.arguments(parser, "show", "take", "offer", "withdraw", "read")
    parser.add_argument("--json", action="store_true", help="of the list, for programs")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="read: the consortium's, as it was read out")
    home_option(parser)


def _run(options: argparse.Namespace) -> int:
    return {None: _list, "show": _show, "take": _take, "offer": _offer, "withdraw": _withdraw, "read": _read}[
        options.action
    ](options)


def _list(options: argparse.Namespace) -> int:
    listing = _listing(options.here, sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps([_as_json(offer.content) for kind in SHOWN for offer in listing.of(kind)], indent=1))
    else:
        command_parts.render_listing(listing, terminal.console())
    return 0


def _as_json(content: OfferContent) -> dict[str, Any]:
    entry = {"address": content.address, "kind": content.offer.kind, "title": content.title, "by": content.by,
             "owner": content.owner}  # fmt: skip
    package = content.offer.package if isinstance(content.offer, ModelOffer) else ""
    doubt, facts = listing_view.doubt(content), listing_view.facts(content)
    return {**entry, "doubt": doubt, "package": package, "description": content.description, "facts": facts}


def _show(options: argparse.Namespace) -> int:
    print(listing_view.render_offer(_listing(options.here).find(command_parts.what(options)).content))
    return 0


def _listing(home: Home, output: TextIO | None = None) -> Listing:
    """As it is now; where the coordinator cannot be reached, as it was seen last, which is said."""
    from client.plans.sync import gateway_of

    catalogue = SiteCatalogue(home)
    try:
        with gateway_of(home) as gateway:
            return catalogue.look(gateway)[0]
    except LinkError as error:
        if (listing := catalogue.last_listing()) is None:
            raise
        print(f"As it was seen on {listing_view.day(listing.made_s)}: {error}\n", file=output)
        return listing


def _take(options: argparse.Namespace) -> int:
    from client.plans.sync import gateway_of

    home = options.here
    with gateway_of(home) as gateway:
        content = SiteCatalogue(home).look(gateway)[0].find(command_parts.what(options)).content
        options.act.facts |= _facts(content)
        if isinstance(content.offer, EncoderOffer):
            _take_encoder(home, gateway, content, content.offer)
            return 0
        path = command_parts.target(options, content)
        if not isinstance(model := content.offer, ModelOffer):
            command_parts.write_plan(path, content)
            return 0
        away = isinstance(path, LentPath)  # fetched here first, and written there as a whole
        folder = Path(tempfile.mkdtemp(prefix="consilium-")) if away else path.parent
        with Watch(model.size, terminal.console(errors=True)) as watch:
            part = fetch(gateway, model, folder, lambda size: watch.advance(size, "fetching"))
    try:
        package = package_file.read_package(part)
        if (package.digest, package.fingerprint) != (model.package, model.fingerprint):
            raise CatalogueError(f"{content.address}: its package is another's than its entry names. Do not use it.")
        if away:
            path.write_bytes(part.read_bytes())
        else:
            part.rename(path)
    finally:
        part.unlink(missing_ok=True)
        if away:
            folder.rmdir()
    print(f"Written to {path}: {model.size:,} bytes, published by '{model.publisher}', fingerprint")
    own_path = path.lent_name if isinstance(path, LentPath) else path
    print(
        f"\n    {model.fingerprint}\n\nThen: python -m client predict {terminal.word(own_path)} IMAGE…    "
        f"{listing_view.RESEARCH}"
    )
    return 0


def _take_encoder(home: Home, gateway: "GatewayClient", content: OfferContent, offer: EncoderOffer) -> None:
    plan_encoders.refuse_licence(home, offer.about)
    with tempfile.TemporaryDirectory() as folder, Watch(offer.size, terminal.console(errors=True)) as watch:
        file = fetch(gateway, offer, Path(folder), lambda size: watch.advance(size, "fetching")).read_bytes()
    command_parts.keep_encoder(content, offer, file)


def _offer(options: argparse.Namespace) -> int:
    from client.plans.sync import gateway_of

    home, what, package = options.here, command_parts.what(options), b""
    catalogue, descriptions = SiteCatalogue(home), command_parts.descriptions(options)
    with gateway_of(home) as gateway:
        _, versions = catalogue.look(gateway)
        if what in home.settings.datasets:
            content = dataset_offer.of_dataset(home, what, descriptions, versions)
        else:
            content, package = of_file(
                _file_of(home, options.what), descriptions, home.pins.federation, home.site, versions
            )
        command_parts.confirm_offer(options, content)
        options.act.facts |= _facts(content)
        options.act.dataset = what if content.offer.kind == "dataset" else ""
        with Watch(max(len(package), 1), terminal.console(errors=True)) as watch:
            send(gateway, package, lambda size: watch.advance(size, "sending"))
        offer = catalogue.offer(gateway, content)
        catalogue.look(gateway)
    options.act.facts["digest"] = offer.digest
    print(f"\nOffered as {content.address}, version {content.version}.")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    from client.plans.sync import gateway_of

    home = options.here
    catalogue, name = SiteCatalogue(home), command_parts.what(options).removeprefix(f"{home.site}/")
    with gateway_of(home) as gateway:
        listing, versions = catalogue.look(gateway)
        own_offers = {
            o.content.name: o.content for o in listing.offers if o.content.owner == home.site and not o.withdrawn
        }
        if name not in own_offers:
            raise CatalogueError(
                f"{name}: this site offers no such thing; it offers {', '.join(own_offers) or 'nothing'}."
            )
        content = withdrawal(own_offers[name]).model_copy(update={"version": versions[name]})
        options.act.facts |= _facts(content)
        catalogue.offer(gateway, content)
        catalogue.look(gateway)
    print(f"Withdrawn: {content.address}. Who has read it knows it all the same.")
    return 0


def _read(options: argparse.Namespace) -> int:
    file = Path(command_parts.what(options)).read_bytes()
    pins = SiteFolder(options.home).pins if (options.home / "pins.json").exists() else roots_named(file)
    listing = Listing.load_verified(file, pins)
    if not (options.home / "pins.json").exists():
        print(
            f"The catalogue of {pins.federation}. The consortium's fingerprint:\n\n    {consortium_fingerprint(pins)}\n"
        )
        question = "Have you compared it with the consortium, and is it the same?"
        if not confirm_fingerprint(question, consortium_fingerprint(pins), options.fingerprint):
            raise IdentityError(
                "fingerprint", "the fingerprint was not confirmed, so nothing is shown. Compare it with what the "
                'consortium reads out, and answer yes, or give --fingerprint "…".',
            )  # fmt: skip
    command_parts.render_listing(listing, terminal.console())
    for kind in SHOWN:
        for offer in listing.of(kind):
            print(f"\n{'-' * 80}\n{listing_view.render_offer(offer.content)}")
    return 0


def _file_of(home: Home, what: str | Path) -> Path:
    path = what if isinstance(what, Path) else Path(what)
    if not path.is_file():
        names = ", ".join(home.settings.datasets) or "none yet"
        raise CatalogueError(
            f"{what}: neither a data set of {home.folder / 'site.yaml'} ({names}), nor a file. Expected one of these, "
            "a package (.consilium), an encoder (.encoder) or a configuration with a section `plan`."
        )
    return path


def _facts(content: OfferContent) -> dict[str, int | str]:
    facts: dict[str, int | str] = {"offer": content.address.replace("/", ":"), "kind": content.offer.kind}
    return facts | {"version": content.version}


COMMANDS = {
    "catalogue": Command(CATALOGUE, _arguments, _run,
                         "a package that was half sent or fetched goes on, or begins again."),
}  # fmt: skip
