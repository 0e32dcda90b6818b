"""The command that makes a package of a finished run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import terminal
from common.cli.command import Command
from common.errors import ConfigError
from common.storage import tensorfile
from common.storage.files import read_json
from server.catalogue.catalogue import Catalogue
from server.consortium.arguments import add_root
from server.consortium.home import Home
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
    from common.package import SUFFIX, load_verified_package
    from server.export.model_card import CardTerms
    from server.export.package import SigningPublisher, export, publisher_key
    from server.report.sentences import trainers

    folder, catalogue_countries = result_folder(options.home, options.run), dict[str, str]()
    if options.key:
        if (folder / "plan.json").exists():
            raise ConfigError("--key: is for simulated runs; the roots of the consortium sign a real one.")
        publisher = SigningPublisher(options.publisher, [publisher_key(options.key)])
    else:
        home = Home.at(options.home)
        publisher = SigningPublisher(home.pins.federation, home.root_keys(options.root), home)
        result = read_json(folder / "result.json")
        catalogue_countries = Catalogue(home).countries(trainers(result) if result else ())
    countries = catalogue_countries | dict(_country(argument) for argument in options.country)
    file = export(folder, publisher, CardTerms(options.intended, options.licence, countries), onnx=options.onnx)
    package = load_verified_package(file, "the package")
    out = options.out or Path(package.content.name + SUFFIX)
    options.act.facts["package"] = package.digest
    tensorfile.write_atomically(out, file)
    if options.onnx:
        print(_onnx_comparison(package))
    print(f"Written to {out}: {len(file):,} bytes, signed by '{package.content.publisher.name}'. Its card is card.html")
    print("in it. Whoever is no member of the consortium compares this fingerprint with you once:\n")
    print(f"    {package.fingerprint}\n")
    print(f"Then: python -m client predict {terminal.word(out)} IMAGE…    Research software, not a medical device.")
    return 0


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


COMMANDS = {"export": Command("a finished run as a package to share", EXPORT, _arguments, _export)}
