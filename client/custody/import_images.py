"""The command `import` of `python -m client`, of files; of an archive: `client.pacs.import_from_pacs`."""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError
from rich.console import Console

from client.custody.dataset_index import OPTIONS, Option
from client.custody.events import Event
from client.custody.key_ring import Custody
from client.home import home_option
from client.site_settings import dataset_lines, enter_dataset
from client.sources import csv_list, identity
from client.sources.case_table import located
from common import config as configuration
from common.cli import terminal
from common.cli.progress import Watch
from common.config import Encrypted, Folder, Manifest, Npz
from common.errors import ConfigError
from common.trust.joining import checked_name

if TYPE_CHECKING:
    from client.custody.importer import CaseFeed, ImportReport

    Source = Folder | Manifest | Npz | CaseFeed

IMPORT = """Take images into the site's custody: identity is taken out of them, and they are stored encrypted.

  python -m client import /export/chest --name chest                   a folder a class
  python -m client import /export --labels list.csv --name chest       a CSV: path,label,patient …
  python -m client import chest.npz --name chest --data labels=[normal,pneumonia]

DICOM, PNG, JPEG, TIFF, or one .npz; the keys after --data are those of docs/data.md. Where a path of the CSV is
a folder, all images below it have that label. What is damaged, or may show a name in its pixels, is listed and
left out, and the rest goes on: exit status 1 then, 0 if all is in. The same command again goes on where the last
one ended, however it ended. Then it is under `datasets` of site.yaml, where a plan finds it, and in a configuration:
data: {kind: encrypted, path: HOME/sets/NAME}"""

KINDS: dict[str, type[Folder | Manifest | Npz]] = {".csv": Manifest, ".npz": Npz}
LISTED = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of an import, wherever images come from."""
    parser.add_argument("source", type=Path, nargs="?", metavar="SOURCE", help="a folder, a CSV or an .npz")
    parser.add_argument("--name", required=True, help="of a new data set or one that is there, as plans call it")
    parser.add_argument("--data", nargs="+", default=[], metavar="key=value", help="as in a configuration's data")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="with paths relative to SOURCE")
    parser.add_argument("--retain", default="", metavar="WHAT", help=f"some of {','.join(OPTIONS)}; default: nothing")
    parser.add_argument(
        "--allow-burned-in", action="store_true", help="also images that may show a name in their pixels"
    )
    parser.add_argument("--list-all", action="store_true", help=f"name all that is left out, not {LISTED} of it")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 16), metavar="N")
    home_option(parser)


def run(options: argparse.Namespace) -> int:
    """Import files."""
    if options.source is None:
        raise ConfigError("import: nothing to take in; expected a folder, a CSV or an .npz, or --from-pacs NAME.")
    if options.labels and not options.source.is_dir():
        raise ConfigError(f"{options.source}: expected a folder, which the paths of --labels are relative to.")
    source = checked_source(options.labels or options.source, options.data)
    return take_in(options, source, options.source if options.labels else None)


def take_in(options: argparse.Namespace, source: "Source", base: Path | None = None) -> int:
    """Import from a source, show what came of it; exit status 1 if something was left out."""
    from client.custody import importer

    request = importer.ImportRequest(
        source,
        checked_name(options.name, "--name"),
        _retained(options.retain),
        options.allow_burned_in,
        max(1, options.processes),
        base,
    )
    if isinstance(source, Manifest):
        _show_mapping(source)
    with Watch(1.0, terminal.console(errors=True)) as watch:
        outcome = importer.run(
            Custody(options.here),
            request,
            lambda total: watch.advance(1 / total, "importing"),
            lambda event: note_event(options, event),
        )
    console = terminal.console()
    everything = options.list_all or not console.is_terminal  # nothing is shortened in a pipe or a file
    _show(outcome, len(outcome.problems) if everything else LISTED, console)
    if outcome.added or outcome.already:
        _enter(options, request.name)
    return 1 if outcome.problems else 0


def _show_mapping(source: Manifest) -> None:
    """What is taken for what, while Ctrl-C still costs nothing."""
    path = located(source.path)
    words = ", ".join(f"{name} from '{heading}'" for name, heading in csv_list.mapping(path, source))
    print(f"{path.name}: {words}. Others: --columns label=Befund,patient=PatientID", file=sys.stderr)


def _enter(options: argparse.Namespace, name: str) -> None:
    """Into the site's settings, so that a plan finds it; where they have the name already, they stay."""
    path = options.here.folder / "site.yaml"
    settings = options.here.settings
    if name in settings.datasets:
        data = settings.datasets[name].data
        if not isinstance(data, Encrypted) or located(data.path).name != name:
            print(f"{path}: datasets.{name} is another source. A plan for '{name}' reads that one.")
    elif enter_dataset(path, name):
        options.act.facts["entered in site.yaml"] = 1
        print(f"{path}: datasets.{name} is entered: a plan for '{name}' finds it.")
    else:
        print(f"{path}: enter it by hand, under datasets:\n{dataset_lines(name)}")


def note_event(options: argparse.Namespace, event: Event) -> None:
    """Into the entry that the site's log will have of this command."""
    options.act.dataset, options.act.outcome = event.dataset, event.outcome
    options.act.facts |= event.facts


def checked_source(path: Path, overrides: list[str]) -> Folder | Manifest | Npz:
    """A source by its path, with what `--data` says of it.

    Raises:
        ConfigError: it is not there, or a key that cannot be.
    """
    kind: type[Folder | Manifest | Npz] = Folder if path.is_dir() else KINDS.get(path.suffix.lower(), Manifest)
    tree: dict[str, Any] = {"kind": kind.__name__.lower(), "path": path, "on_error": "report"}
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder; expected a folder, a CSV or an .npz.")
    for override in overrides:
        configuration.lay_over(tree, override)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(configuration.readable(path, error, kind)) from None


def _retained(text: str) -> frozenset[Option]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if strange := sorted(set(words) - set(OPTIONS)):
        raise ConfigError(f"--retain {strange[0]}: expected some of {', '.join(OPTIONS)}, with commas between.")
    return frozenset(option for option in OPTIONS if option in words)


def _show(outcome: "ImportReport", most: int, console: Console) -> None:
    for problem in outcome.problems[:most]:
        console.print(f"left out  {problem}", highlight=False, markup=False)
    if len(outcome.problems) > most:
        console.print(f"left out  and {len(outcome.problems) - most} more; --list-all names them", highlight=False)
    for what in outcome.unused:
        console.print(what, highlight=False, markup=False)
    if outcome.taken_out:
        kinds = [f"{count:,} {kind}" for kind, count in sorted(outcome.taken_out.items())]
        console.print(f"not carried over: {'; '.join(kinds)}.", highlight=False)
    if outcome.unknown:
        rule, people = identity.suggestion(outcome.unknown, 2) or ("", 0)
        seems = f": they seem to tell {people} patients. If so, import into another set, with --data 'patients={rule}'"
        console.print(
            f"no patient is known of {len(outcome.unknown)} pictures, whose names are not kept{seems if rule else ''}",
            highlight=False, markup=False,
        )  # fmt: skip
    if outcome.withdrawals:
        console.print(f"{outcome.withdrawals} images stay out: their patients withdrew.", highlight=False)
    counts = [f"{outcome.added} cases are in", f"{outcome.already} were in before", f"{len(outcome.problems)} left out"]
    console.print(f"{', '.join(counts)}. In a configuration:", highlight=False)
    data = {"data": {"kind": "encrypted", "path": str(outcome.folder)}}
    line = yaml.safe_dump(data, default_flow_style=None, sort_keys=False, width=math.inf, allow_unicode=True)
    console.print(f"  {line.rstrip()}")


GOES_ON = "what was imported so far is stored, and the same command goes on from there."
