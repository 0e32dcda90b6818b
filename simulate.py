"""Simulate a federation on one machine, and compare what each site reaches alone, together, and by pooling the images.

    python simulate.py configs/demo.yaml
    python simulate.py configs/pneumonia.yaml --out runs/mine seeds=[1] federation.rounds=10
    python simulate.py configs/demo-svm.yaml --sweep federation.rounds=20,40 model.C=0.01,0.1,1

For every seed: the cases fall to the sites, the sites train together (server/rounds/loop.py drives,
client/training/site.py answers), then each alone and all images pooled, by the same loop with a single member. Every
stage is written to disk after each round, so `--resume` goes on wherever a run was interrupted. See simulation/.
"""

from common.cli import interrupt

if __name__ == "__main__":
    interrupt.arm()  # before the rest is imported, which takes seconds

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from common.cli.command import CommandParser, exit_status
from common.cli.harmless import spell_out_what_cannot_be_shown
from simulation import Engine


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, 2 for an error that the user can mend, 130 when interrupted."""
    spell_out_what_cannot_be_shown()
    parser = CommandParser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_intermixed_args(arguments)
    return exit_status(lambda: _run(options), "the same command with --resume goes on from the last round.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What a simulation is told on the command line."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file; see configs/ and docs/configuration.md")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="laid over the file, e.g. federation.rounds=5"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument(
        "--engine", choices=get_args(Engine), default="memory",
        help="what carries the messages of the federation: this process, or Flower's simulation engine (needs ray)",
    )  # fmt: skip
    parser.add_argument(
        "--transcripts", action="store_true", help="keep the messages of every secure sum, for common.secagg.audit"
    )
    parser.add_argument(
        "--sweep", nargs="+", metavar="KEY=VALUES",
        help="a run for each combination of settings, e.g. federation.rounds=10,20 model.C=0.1,1, with one table",
    )  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    from simulation.run_and_show import run  # TensorFlow with it: seconds for which a help should not wait

    return run(options)


if __name__ == "__main__":
    interrupt.program(main)
