"""A hospital's commands.

    python -m client check configs/demo.yaml          is the data ready to train on?
    python -m client preview image.dcm --config C     one image after every step of the preprocessing

`python -m client COMMAND --help` explains each.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from common import config as configuration
from common.command import exit_status

CHECK = """Read every image, divide the cases as a run would, and report what stands against training.

  python -m client check configs/demo.yaml
  python -m client check configs/ours.yaml data.path=/images/list.csv

The table shows each site's cases by class (12/34: 12 of the first class, 34 of the second) and split, how many people
they show, and sizes and intensities as read. Below it every line is ok, warn (look at it) or ERROR (a run would stop).
Exit status: 0 ready, 1 errors in the data, 2 a configuration or a data set that cannot be used at all."""

PREVIEW = """Write a PNG of one image as read and after every step of a configuration's preprocessing.

  python -m client preview chest.dcm --config configs/pneumonia.yaml --out chest.png

Each panel says the step, the size, and the range of values. Where a configuration normalises by federated statistics,
which one image does not have, the image's own stand in."""


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    summary: str
    teaching: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit status 2 for an error that the user can mend, 130 when interrupted, else the command's."""
    parser = argparse.ArgumentParser(
        "python -m client", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.teaching,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
    options = parser.parse_args(arguments)
    kept = "images decoded so far are kept, and the same command goes on from them."
    return exit_status(lambda: COMMANDS[options.command].run(options), kept)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file; see configs/ and docs/data.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the file, e.g. data.path=list.csv")


def _check(options: argparse.Namespace) -> int:
    from client import readiness

    report = readiness.examine(configuration.load(options.config, options.overrides))
    readiness.show(report, Console())
    return 0 if report.ready else 1


def _preview_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a DICOM, PNG, JPEG or TIFF file")
    parser.add_argument("--config", required=True, metavar="C", help="whose preprocessing to show")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="of a file with several, from 0 (default: the middle one)"
    )
    parser.add_argument("--out", type=Path, metavar="P", help="the PNG to write (default: preview.png)")


def _preview(options: argparse.Namespace) -> int:
    from client.preview import preview
    from client.readers import Frames

    frame: Frames = "middle" if options.frame is None else options.frame
    out = preview(options.image, configuration.load(options.config), options.out or Path("preview.png"), frame)
    print(f"Written to {out}.")
    return 0


COMMANDS = {
    "check": Command("is the data of a configuration ready to train on?", CHECK, _check_arguments, _check),
    "preview": Command("one image after every preprocessing step", PREVIEW, _preview_arguments, _preview),
}

if __name__ == "__main__":
    sys.exit(main())
