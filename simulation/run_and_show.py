"""What `simulate.py` does once its command line is read: one run, or a sweep of runs."""

import argparse
import logging

from rich.console import Console
from rich.text import Text

from client.access import gate
from client.home import Home
from common import config as configuration
from common.cli import logs, terminal
from common.config import Encrypted
from common.storage.run_folder import run_folder
from server.report import sentences, verdicts
from server.results import screen
from simulation import sweep
from simulation.seeds import simulate

log = logging.getLogger("consilium")


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
