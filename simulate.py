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
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.text import Text

from client.access import gate
from client.home import Home
from common import config as configuration
from common.cli import logs, terminal
from common.cli.command import CommandParser, exit_status
from common.cli.harmless import spell_out_what_cannot_be_shown
from common.config import Encrypted
from common.storage.run_folder import run_folder
from server.report import sentences, verdicts
from server.results import screen
from simulation import sweep
from simulation.experiment import Engine
from simulation.seeds import simulate

log = logging.getLogger("consilium")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, 2 for an error that the user can mend, 130 when interrupted."""
    spell_out_what_cannot_be_shown()
    parser = CommandParser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_intermixed_args(arguments)
    return exit_status(lambda: run(options), "the same command with --resume goes on from the last round.")


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


def run(options: argparse.Namespace) -> int:
    """Simulate as the command line says, and show what came out."""
    console = terminal.console()
    config = configuration.load(options.config, options.overrides)
    home = gate.let_in_for(config.data, "simulate, encrypted") if isinstance(config.data, Encrypted) else None
    if options.sweep:
        return run_all(options, config.name, console, home)
    with run_folder(options.out, config.name, options.resume) as folder:
        handler = logs.Patient(folder / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        result = simulate(config, folder, console, options.engine, options.transcripts, home)
        screen.show(result, console)
        console.print(verdicts.first(result), highlight=False)
        for verdict in verdicts.verdicts(result):
            console.print(Text(verdict, "bold red" if verdicts.is_warning(verdict) else ""))
        if why := verdicts.recognition(result):
            console.print(Text(why, "yellow"))
        for sentence in sentences.promise(result):
            console.print(sentence, highlight=False)
        for remark in sentences.remarks(result):
            console.print(Text(remark, "yellow"))
        from common.cli import curves_picture

        curves_picture.curves(result, folder / "curves.png")
        if result.get("privacy", {}).get("sweep"):
            from common.cli import budget_picture

            budget_picture.budgets(result, folder / "privacy.png")
            console.print(f"AUC over ε: {folder / 'privacy.png'}", highlight=False)
        console.print(
            f"Written to {folder}: report.html, result.json, curves.png, model.safetensors, log.txt", highlight=False
        )
    return 0


def run_all(options: argparse.Namespace, name: str, console: Console, home: Home | None) -> int:
    """A sweep: every combination of its settings, and the table of all."""
    with run_folder(options.out, f"{name}-sweep", options.resume) as folder:
        whole = sweep.run_sweep(options.config, options.overrides, options.sweep, folder, console, options.engine, home)
        console.print(sweep.table(whole))
        console.print(sweep.choice(whole), highlight=False)
        console.print(f"Written to {folder}: sweep.html, sweep.json, and a folder a run.", highlight=False)
    return 0


if __name__ == "__main__":
    interrupt.program(main)
