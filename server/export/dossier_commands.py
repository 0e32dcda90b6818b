"""The command that writes the dossier of a run: dossier."""

import argparse
from pathlib import Path

from common.cli.command import Command
from common.config import parse_yaml
from common.errors import ConfigError
from common.storage import tensorfile
from common.storage.files import read_json
from server.consortium.arguments import add_home
from server.export.bill_of_materials import bill_of_materials
from server.export.dossier import as_page, as_table, cells_of, items
from server.runs.run import result_folder

DOSSIER = """Write what the record of a finished run answers of the lists that reviewers and authorities ask by: model
card, CLAIM, TRIPOD+AI, the AI Act's Annex IV; and the bill of materials of what is installed here (CycloneDX).

  python -m server dossier runs/demo
  python -m server dossier runs/demo --statements ours.yaml      with: {"CLAIM 2024 44": "Funded by …"}

Each cell names the file that it comes from. What nobody recorded stays empty, and says so. docs/sharing.md"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a folder with a result.json, or a run's name here")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where it is written (RUN/dossier)")
    parser.add_argument("--statements", type=Path, metavar="FILE", help="what you add, by list and item")
    add_home(parser)


def _dossier(options: argparse.Namespace) -> int:
    folder = result_folder(options.home, options.run)
    result = read_json(folder / "result.json")
    if result is None or result.get("kind") == "evaluation":
        raise ConfigError(f"{folder}: expected the folder of a finished training, with its result.json.")
    statements = _statements(options.statements) if options.statements else {}
    cells = cells_of(result, statements, options.statements.name if options.statements else "")
    out = options.out or folder / "dossier"
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "dossier.html": as_page(result["name"], cells),
        "dossier.csv": as_table(cells),
        "sbom.cdx.json": bill_of_materials(),
    }
    for name, content in files.items():
        tensorfile.write_atomically(out / name, content)
    many = sum(bool(cell.answers) for cell in cells)
    print(f"Written to {out}: {', '.join(files)}. {many} of {len(cells)} items are answered by the record.")
    return 0


def _statements(path: Path) -> dict[str, str]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it ({error.strerror}).") from None
    names = {f"{row['list']} {row['item']}" for row in items()}
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise ConfigError(f'{path}: expected a line for each item: "CLAIM 2024 44": "Funded by …"')
    if strange := sorted(set(map(str, tree)) - names):
        raise ConfigError(
            f"{path}: {strange[0]}: no such item; expected a list with its item, for example CLAIM 2024 44."
        )
    return {str(item): text for item, text in tree.items()}


COMMANDS = {"dossier": Command(DOSSIER, _arguments, _dossier)}
