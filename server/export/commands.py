"""The command that makes a package of a finished run."""

import argparse
import base64
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import terminal
from common.cli.command import Command
from common.errors import ConfigError
from common.storage import tensorfile
from common.storage.files import read_json
from common.trust.cosigning import RootPaper, SigningRequest
from server.catalogue.catalogue import Catalogue
from server.consortium.arguments import add_root
from server.consortium.home import Home
from server.consortium.signing import Finish, Rest, request_of, sign
from server.runs.run import result_folder

if TYPE_CHECKING:
    from common.package import ModelPackage

COMPARED_ON = 64

EXPORT = """Make one signed package of a finished run, to use at any hospital: python -m client predict MODEL IMAGE…

  python -m server export pneumonia-1a2b3c4d --licence CC-BY-NC-4.0
  python -m server export runs/demo --key publisher.key

In it: weights, architecture, preprocessing with its fingerprint, labels, operating point, how validation cases were
scored, and a model card. A consortium's roots sign it. A simulated run can be signed with a publisher's own key
instead, which is made where there is none; the card says that it is a simulation. docs/sharing.md has the format."""

ASK_THE_PUBLISHER = "not given: ask the publisher before any use"
RESEARCH = "Research on this question, on images like those of the training, by people who read the limits below."


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a folder with a result.json, or a run's name here")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the package (NAME.consilium)")
    parser.add_argument("--licence", default=ASK_THE_PUBLISHER, metavar="TEXT", help="under which it is given away")
    parser.add_argument("--intended", default=RESEARCH, metavar="TEXT", help="intended use, for the card")
    parser.add_argument(
        "--country", action="append", default=[], metavar="SITE=COUNTRY", help="for the card (the catalogue's); repeat"
    )
    parser.add_argument("--onnx", action="store_true", help="put an ONNX graph in as well, and compare its outputs")
    parser.add_argument("--key", type=Path, metavar="FILE", help="a publisher's own key, for a simulated run")
    parser.add_argument("--publisher", default="simulation", metavar="NAME", help="whose key that is (simulation)")
    add_root(parser)


def _export(options: argparse.Namespace) -> int:
    from server.export.model_card import CardTerms
    from server.export.package import SigningPublisher, draw_up, export, publisher_key
    from server.report.sentences import trainers

    folder = result_folder(options.home, options.run)
    own_countries = dict(_country(argument) for argument in options.country)
    if options.key:
        if (folder / "plan.json").exists():
            raise ConfigError("--key: is for simulated runs; the roots of the consortium sign a real one.")
        publisher = SigningPublisher(options.publisher, [publisher_key(options.key)])
        terms = CardTerms(options.intended, options.licence, own_countries)
        print(_write(export(folder, publisher, terms, onnx=options.onnx), options.out))
        return 0
    home = Home.at(options.home)
    result = read_json(folder / "result.json")
    catalogue_countries = Catalogue(home).countries(trainers(result) if result else ())
    publisher = SigningPublisher(home.pins.federation, (), home)
    terms = CardTerms(options.intended, options.licence, catalogue_countries | own_countries)
    document, members = draw_up(folder, publisher, terms, onnx=options.onnx)
    request = request_of(home, "export", f"export-{folder.name}"[:63], [RootPaper.of(document)])
    rest: Rest = {"out": str(options.out or "")}
    rest |= {"members": {name: base64.b64encode(content).decode() for name, content in members.items()}}
    outcome = sign(home, request, rest, home.root_keys(*options.root), _finish_export)
    options.act.facts["package"] = document.digest.hex()
    print(outcome.words)
    return 0


def _finish_export(_: Home, request: SigningRequest, rest: Rest) -> str:
    from common.package import pack_package

    members = {name: base64.b64decode(content) for name, content in rest["members"].items()}
    return _write(pack_package(request.papers[0].file, members), Path(rest["out"]) if rest["out"] else None)


FINISH: dict[str, Finish] = {"export": _finish_export}


def _write(file: bytes, out: Path | None) -> str:
    """Write a package; what there is to say of it."""
    from common.package import SUFFIX, load_verified_package
    from common.package.package_file import GRAPH

    package = load_verified_package(file, "the package")
    out = out or Path(package.content.name + SUFFIX)
    tensorfile.write_atomically(out, file)
    lines = [_onnx_comparison(package)] if GRAPH in package.members else []
    lines += [
        f"Written to {out}: {len(file):,} bytes, signed by '{package.content.publisher.name}'. Its card is card.html",
        "in it. Whoever is no member of the consortium compares this fingerprint with you once:\n",
        f"    {package.fingerprint}\n",
        f"Then: python -m client predict {terminal.word(out)} IMAGE…    Research software, not a medical device.",
    ]
    return "\n".join(lines)


def _onnx_comparison(package: "ModelPackage") -> str:
    """How far the ONNX graph's outputs are from the model's own, in words."""
    from server.export.package import difference

    if (difference_found := difference(package, COMPARED_ON)) is None:
        return "ONNX: in the package; not compared, for onnxruntime is not installed (pip install onnxruntime)."
    return (
        f"ONNX: outputs differ from the model's own by {difference_found:.1e} at most, on {COMPARED_ON} made-up images."
    )


def _country(argument: str) -> tuple[str, str]:
    site, equals, country = argument.partition("=")
    if not (equals and site and country):
        raise ConfigError(f"--country {argument}: expected SITE=COUNTRY, for example lisbon=Portugal.")
    return site, country


COMMANDS = {"export": Command(EXPORT, _arguments, _export)}
