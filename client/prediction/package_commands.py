"""The command `packages` of `python -m client`: models for trainings to begin from."""

import argparse
from pathlib import Path

from client.home import home_option
from client.prediction import trust
from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.errors import ConfigError, PackageError
from common.package import package_library
from common.package.package_file import read_package

PACKAGES = """Models that a training can begin from: last year's, a partner's.

  python -m client packages                      those that are here
  python -m client packages add MODEL            keep one here, once its publisher is known

A configuration names one by its digest: initial: DIGEST. So does a plan; a site that lacks the package says so.
Preprocessing, classes, model and image size must be the package's. docs/sharing.md tells more."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["add"], help="what to do (default: list them)")
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="add: the package")
    parser.add_argument("--publisher", metavar="DIGITS", help="the publisher's fingerprint, as it was read out")
    home_option(parser)


def _run(options: argparse.Namespace) -> int:
    if options.action is None:
        return _list()
    if options.model is None:
        raise ConfigError("packages add: expected a MODEL.")
    package = read_package(options.model)
    why = trust.settle(package, options.home, options.publisher)
    path = package_library.add(package, options.model.read_bytes())
    print(f"{package.content.name}: {why}.\nKept in {path}. In a configuration:\n\n  initial: {package.digest}\n")
    terminal.console().print(package_library.TRUST, highlight=False)
    return 0


def _list() -> int:
    """All that are here, then those that cannot be used, each with its file; 1 if there are such."""
    sheet, faults = Sheet("model", "publisher", "digest"), list[PackageError]()
    for digest in (digests := package_library.digests()):
        try:
            content = package_library.load(digest).content
        except PackageError as error:
            faults.append(error)
            continue
        sheet.add(content.name, content.publisher.name, digest)
    if not digests:
        print(f"No package in {package_library.folder()} yet. {package_library.HOW}")
    elif len(faults) < len(digests):
        terminal.console().print(sheet)
    for fault in faults:
        print(f"Cannot be used: {fault}")
    return 1 if faults else 0


COMMANDS = {"packages": Command(PACKAGES, _arguments, _run)}
