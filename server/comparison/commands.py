"""The command that sets runs beside each other: compare."""

import argparse
from pathlib import Path

from common.cli import terminal
from common.cli.command import Command
from common.errors import ConfigError
from common.storage import tensorfile
from server.consortium.arguments import add_home
from server.runs.run import result_folder

COMPARE = """Compare runs that have finished: settings that differ, curves over each other, figures with intervals,
cost. A table here, and one page, compare.html.

  python -m server compare runs/demo runs/demo-svm
  python -m server compare pneumonia-1a2b3c4d pneumonia-5e6f7a8b"""


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a folder with a result.json, or a run's name here")
    parser.add_argument(
        "--out", type=Path, default=Path("compare.html"), metavar="FILE", help="the page (compare.html)"
    )
    add_home(parser)


def _compare(options: argparse.Namespace) -> int:
    from server.comparison import comparison_page, site_tables

    if len(options.runs) < 2:
        raise ConfigError("one run, expected two at least to compare: python -m server compare RUN RUN…")
    results = [comparison_page.read(result_folder(options.home, name)) for name in options.runs]
    terminal.console().print(comparison_page.screen_table(results))
    for number, result in enumerate(results, 1):
        for saying in site_tables.sayings(result):
            print(f"Run {number}: {saying}")
    for doubt in comparison_page.doubts(results):
        print(doubt)
    tensorfile.write_atomically(options.out, comparison_page.page(results))
    print(f"Written to {options.out}. Research software, not a medical device.")
    return 0


COMMANDS = {"compare": Command(COMPARE, _compare_arguments, _compare)}
