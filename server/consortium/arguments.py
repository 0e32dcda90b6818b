"""Arguments that many of the coordinator's commands take."""

import argparse
from pathlib import Path


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add --home, the coordinator's folder."""
    parser.add_argument(
        "--home", type=Path, default=Path("consortium"), metavar="DIR", help="the coordinator's folder (consortium)"
    )


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add --home, and --root, the keys that sign rosters and plans."""
    add_home(parser)
    parser.add_argument(
        "--root", type=Path, action="append", default=[], metavar="FILE",
        help="a root key at hand, where it is not in the folder; repeat",
    )  # fmt: skip


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add a run's name, and --home."""
    parser.add_argument("name", nargs="?", default="", metavar="RUN", help="its name, or the beginning (the latest)")
    add_home(parser)
