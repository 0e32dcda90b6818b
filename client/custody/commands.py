"""The commands `import` and `custody` of `python -m client`."""

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError
from rich.console import Console

from client.custody import lifecycle
from client.custody.dataset_index import OPTIONS, Option
from client.custody.dataset_version import dataset_version
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.events import Event, Record
from client.custody.key_ring import Custody
from client.home import Home, home_option
from client.sources import identity
from common import config as configuration
from common.cli import terminal
from common.cli.command import Command
from common.cli.progress import Watch
from common.config import Folder, Manifest, Npz
from common.errors import ConfigError
from common.trust.joining import checked_name

if TYPE_CHECKING:
    from client.custody.importer import ImportReport

IMPORT = """Take images into the site's custody: identity is taken out of them, and they are stored encrypted.

  python -m client import /export/chest --name chest                   a folder a class
  python -m client import /export --labels list.csv --name chest       a CSV: path,label,patient …
  python -m client import chest.npz --name chest --data labels=[normal,pneumonia]

DICOM, PNG, JPEG, TIFF, or one .npz; the keys after --data are those of docs/data.md. Where a path of the CSV is
a folder, all images below it have that label. What is damaged, or may show a name in its pixels, is listed and
left out, and the rest goes on: exit status 1 then, 0 if all is in. The same command again goes on where the last
one ended, however it ended. Afterwards, in a configuration: data: {kind: encrypted, path: HOME/sets/NAME}"""

CUSTODY = """The keys of encrypted data sets.

  python -m client custody begin /media/safe/lisbon.recovery    make them, once; put the recovery key away
  python -m client custody list
  python -m client custody verify NAME      read every byte of a data set
  python -m client custody rotate           a new key for the site; no image is written
  python -m client custody recover NAME FILE      after the site's key was lost
  python -m client custody adopt NAME       take a restored data set as it is
  python -m client custody destroy NAME     destroy its keys, and so the data set

docs/custody.md tells what each protects against."""

KINDS: dict[str, type[Folder | Manifest | Npz]] = {".csv": Manifest, ".npz": Npz}
LISTED = 20


def _custody(options: argparse.Namespace) -> Custody:
    return Custody(Home(options.home))


def _record(options: argparse.Namespace) -> Record:
    """Into the entry that the site's log will have of this command."""

    def record(event: Event) -> None:
        options.act.dataset, options.act.outcome = event.dataset, event.outcome
        options.act.facts |= event.facts

    return record


# --- import ---------------------------------------------------------------------------------------------------------


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a folder, a CSV or an .npz")
    parser.add_argument("--name", required=True, help="of the data set, one that is there or a new one")
    parser.add_argument("--data", nargs="+", default=[], metavar="key=value", help="as in a configuration's data")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="with paths relative to SOURCE")
    parser.add_argument("--retain", default="", metavar="WHAT", help=f"some of {','.join(OPTIONS)}; default: nothing")
    parser.add_argument(
        "--allow-burned-in", action="store_true", help="also images that may show a name in their pixels"
    )
    parser.add_argument("--list-all", action="store_true", help=f"name all that is left out, not {LISTED} of it")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 16), metavar="N")
    home_option(parser)


def _import(options: argparse.Namespace) -> int:
    from client.custody import importer

    custody = _custody(options)
    if options.labels and not options.source.is_dir():
        raise ConfigError(f"{options.source}: expected a folder, which the paths of --labels are relative to.")
    request = importer.ImportRequest(
        _source(options.labels or options.source, options.data),
        checked_name(options.name, "--name"),
        _retained(options.retain),
        options.allow_burned_in,
        max(1, options.processes),
        options.source if options.labels else None,
    )
    with Watch(1.0, terminal.console(errors=True)) as watch:
        outcome = importer.run(custody, request, lambda total: watch.advance(1 / total, "importing"), _record(options))
    console = terminal.console()
    everything = options.list_all or not console.is_terminal  # nothing is shortened in a pipe or a file
    _show(outcome, len(outcome.problems) if everything else LISTED, console)
    return 1 if outcome.problems else 0


def _source(path: Path, overrides: list[str]) -> Folder | Manifest | Npz:
    kind: type[Folder | Manifest | Npz] = Folder if path.is_dir() else KINDS.get(path.suffix.lower(), Manifest)
    tree: dict[str, Any] = {"kind": kind.__name__.lower(), "path": str(path), "on_error": "report"}
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


# --- custody --------------------------------------------------------------------------------------------------------


def _custody_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    arguments = {
        "begin": {"recovery": "where to write the recovery key, to be put away"},
        "list": {},
        "verify": {"name": "the data set"},
        "rotate": {},
        "recover": {"name": "the data set", "recovery": "the recovery key"},
        "adopt": {"name": "the data set"},
        "destroy": {"name": "the data set"},
    }
    for action, meanings in arguments.items():
        sub = actions.add_parser(action)
        for argument, meaning in meanings.items():
            sub.add_argument(argument, metavar=argument.upper(), help=meaning)
        if action == "rotate":
            sub.add_argument("--recovery", metavar="FILE", help="make a new recovery key as well")
        if action == "destroy":
            sub.add_argument("--really", required=True, metavar="NAME", help="the name again: there is no way back")
        home_option(sub)


def _keep(options: argparse.Namespace) -> int:
    custody = _custody(options)
    return {
        "begin": _begin, "list": _list, "verify": _verify, "rotate": _rotate, "recover": _recover, "adopt": _adopt,
        "destroy": _destroy,
    }[options.action](custody, options)  # fmt: skip


def _begin(custody: Custody, options: argparse.Namespace) -> int:
    custody.begin(Path(options.recovery))
    print(f"Keys made in {custody.folder}. Put {options.recovery} away, off this machine, and back it up on paper.")
    return 0


def _list(custody: Custody, options: argparse.Namespace) -> int:
    for folder in lifecycle.data_sets(custody):
        store = EncryptedDataset.open(custody, folder)
        size = sum(store.index.packs) / 1e6
        digest = dataset_version(store)[:16]
        print(f"{store.name}: {len(store.index.cases):,} cases, {size:,.1f} MB, version {store.version}, {digest}")
    return 0


def _verify(custody: Custody, options: argparse.Namespace) -> int:
    store = EncryptedDataset.open(custody, lifecycle.find(custody, options.name))
    options.act.dataset = f"{store.name} {store.wraps.set}"
    damaged = list(store.verify())
    for what in damaged:
        print(what)
    print(f"{store.name}: {len(store.index.objects)} objects read, {len(damaged)} damaged.")
    return 1 if damaged else 0


def _rotate(custody: Custody, options: argparse.Namespace) -> int:
    folders = lifecycle.rotate(custody, Path(options.recovery) if options.recovery else None, _record(options))
    print(f"A new key is in use for {len(folders)} data sets. Back up {custody.folder} and the files `keys` again.")
    return 0


def _recover(custody: Custody, options: argparse.Namespace) -> int:
    version = lifecycle.recover(
        custody, lifecycle.find(custody, options.name), Path(options.recovery), _record(options)
    )
    print(f"{options.name} opens with this site's key again; it is version {version} now.")
    return 0


def _adopt(custody: Custody, options: argparse.Namespace) -> int:
    version = lifecycle.adopt(custody, lifecycle.find(custody, options.name), _record(options))
    print(f"{options.name} is taken as it is, as version {version}.")
    return 0


def _destroy(custody: Custody, options: argparse.Namespace) -> int:
    if options.really != options.name:
        raise ConfigError(f"--really {options.really}: expected {options.name}, the name of what is to be destroyed.")
    lifecycle.destroy(custody, lifecycle.find(custody, options.name), _record(options))
    print(f"{options.name} is destroyed. Destroy copies of its file `keys` in backups as well.")
    return 0


GOES_ON = "what was imported so far is stored, and the same command goes on from there."

COMMANDS = {
    "import": Command("take images into encrypted custody", IMPORT, _import_arguments, _import, GOES_ON),
    "custody": Command("the keys of encrypted data sets", CUSTODY, _custody_arguments, _keep),
}
