"""The command that says what a federated model is worth at this hospital."""

import argparse
import json
from pathlib import Path
from typing import Any

from client.comparison.verdict import verdict
from client.home import Home, home_option
from client.prediction import trust
from common.catalogue.listing_view import ORIGINS
from common.cli import curves_picture, terminal
from common.cli.command import Command
from common.cli.progress import Watch
from common.cli.terminal import Sheet
from common.metrics import intervals
from common.package import package_file
from common.storage.files import read_json, write_json

COMPARE = """What a federated model is worth here: beside one that this hospital trains alone, on its own test cases.

  python -m client compare pneumonia-1a2b3c4d.consilium
  python -m client compare                                    all models that were compared here

Trains a model on this site's images alone, by the plan that the federated one was trained by; blends the two as
the validation cases speak for it; and scores all three on the test cases, which no training has seen. Nothing leaves
this machine: a table here, and HOME/comparisons/ has figures and picture. docs/evaluation.md says how to read them.
Research software, not a medical device."""
NAMES = {"local": "here alone", "federated": "federated", "personalised": "personalised"}
COLUMNS = ("auc", "accuracy", "sensitivity", "specificity")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="the package of a run that this site was asked for"
    )
    parser.add_argument("--json", action="store_true", help="of all that were compared, for programs")
    parser.add_argument("--publisher", metavar="DIGITS", help="the publisher's fingerprint, as it was read out")
    home_option(parser)


def _compare(options: argparse.Namespace) -> int:
    if options.model is None:
        return _show_all(options.here, options)
    from client.comparison import comparison  # and with it what trains
    from client.plans import own_layers

    home, console, package = options.here, terminal.console(), package_file.read_package(options.model)
    trust.settle(package, options.home, options.publisher)
    package, plan = own_layers.completed(package, home), comparison.plan_of(home, package)
    options.act.plan, options.act.dataset = plan.name, plan.content.dataset
    with Watch(1.0, terminal.console(errors=True)) as watch:
        result = comparison.compare(home, package, plan, watch.advance)
    folder = home.folder / "comparisons"
    write_json(folder / f"{package.content.name}.json", result)
    curves_picture.worth(result, verdict(result), folder / f"{package.content.name}.png")
    console.print(_table(result))
    console.print(f"{verdict(result)}\nThe personalised model: {result['personalised_by']}. "
                  "Test cases took no part in any training.", highlight=False)  # fmt: skip
    if result["origin"] != "hospital":
        console.print(f"Not real: {ORIGINS[result['origin']]}.", highlight=False)
    console.print(f"In {folder}: figures and picture. Research software, not a medical device.", highlight=False)
    return 0


def _show_all(home: Home, options: argparse.Namespace) -> int:
    """What earlier comparisons came to."""
    paths = sorted((home.folder / "comparisons").glob("*.json"), key=lambda path: path.stat().st_mtime)
    results = [result | {"verdict": verdict(result)} for path in paths if (result := read_json(path))]
    if options.json:
        print(json.dumps(results, indent=1))
        return 0
    sheet = Sheet("model", "test cases", "worth here", right=("test cases",), prose=("worth here",))
    for result in results:
        sheet.add(result["model"], f"{sum(result['by_class']):,}", result["verdict"])
    terminal.console().print(sheet if results else "No model was compared here yet: python -m client compare MODEL")
    return 0


def _table(result: dict[str, Any]) -> Sheet:
    table = Sheet("model", *(c.upper() if c == "auc" else c for c in COLUMNS))
    for name, title in NAMES.items():
        by = result["figures"][name]
        table.add(title, *(intervals.format_interval(by[c], by.get(f"{c}_interval"), "\n") for c in COLUMNS))
    return table


COMMANDS = {"compare": Command(COMPARE, _arguments, _compare)}
