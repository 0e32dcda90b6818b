"""The command that gives a run's figures to other tools: figures."""

import argparse
from pathlib import Path

from common.cli.command import Command
from common.errors import ConfigError
from common.storage import tensorfile
from common.storage.files import read_json
from server.consortium.arguments import add_home
from server.export.tracked_figures import as_csv, tracked
from server.runs.run import result_folder

FIGURES = """Give the figures of a finished run, simulated or real, to other tools; all of them get the same numbers.

  python -m server figures runs/demo --csv figures.csv
  python -m server figures runs/demo --tensorboard logs          then: tensorboard --logdir logs
  python -m server figures runs/demo --mlflow sqlite:///mlflow.db    then: mlflow ui --backend-store-uri …

Figures on cases have scikit-learn's names, those of rounds stand under the heads of Flower's Result. docs/results.md"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a folder with a result.json, or a run's name here")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table, a row a figure")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="event files, in DIR/RUN")
    parser.add_argument("--mlflow", metavar="URI", help="a run at this tracking URI (needs mlflow-skinny)")
    add_home(parser)


def _figures(options: argparse.Namespace) -> int:
    folder = result_folder(options.home, options.run)
    if not (options.csv or options.tensorboard or options.mlflow):
        raise ConfigError("nowhere to give them: expected --csv FILE, --tensorboard DIR or --mlflow URI.")
    result = read_json(folder / "result.json")
    if result is None or result.get("kind") == "evaluation":
        raise ConfigError(f"{folder}: expected the folder of a finished training, with its result.json.")
    figures = tracked(result)
    if options.csv:
        tensorfile.write_atomically(options.csv, as_csv(figures))
        print(f"Written to {options.csv}: {len(figures)} figures.")
    if options.tensorboard:
        from common.cli.event_file import write_events

        into = options.tensorboard / folder.resolve().name
        write_events(into, ((figure.tag, figure.step, figure.value) for figure in figures))
        print(f"Written to {into}: {len(figures)} figures. tensorboard --logdir {options.tensorboard}")
    if options.mlflow:
        from server.export.mlflow_run import write_mlflow

        print(f"MLflow run {write_mlflow(options.mlflow, folder, result, figures)} at {options.mlflow}.")
    return 0


COMMANDS = {"figures": Command(FIGURES, _arguments, _figures)}
