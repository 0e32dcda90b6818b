"""The command `custody` of `python -m client`."""

import argparse
from pathlib import Path

from client.custody import lifecycle
from client.custody.dataset_version import dataset_version
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.events import Event, Record
from client.custody.import_images import note_event
from client.custody.key_ring import Custody
from client.home import home_option
from common.cli.command import Command
from common.errors import ConfigError

CUSTODY = """The keys of encrypted data sets.

  python -m client custody begin /media/safe/lisbon.recovery    make them, once; put the recovery key away
  python -m client custody list
  python -m client custody verify NAME      read every byte of a data set
  python -m client custody rotate           a new key for the site; no image is written
  python -m client custody recover NAME FILE      after the site's key was lost
  python -m client custody adopt NAME       take a restored data set as it is
  python -m client custody destroy NAME     destroy its keys, and so the data set

docs/custody.md tells what each protects against."""


def _custody(options: argparse.Namespace) -> Custody:
    return Custody(options.here)


def _record(options: argparse.Namespace) -> Record:
    def record(event: Event) -> None:
        note_event(options, event)

    return record


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
            kind = Path if argument == "recovery" else str
            sub.add_argument(argument, type=kind, metavar=argument.upper(), help=meaning)
        if action == "rotate":
            sub.add_argument("--recovery", type=Path, metavar="FILE", help="make a new recovery key as well")
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
    custody.begin(options.recovery)
    print(f"Keys made in {custody.folder}. Put {options.recovery} away, off this machine, and back it up on paper.")
    print("Next: python -m client import")
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
    folders = lifecycle.rotate(custody, options.recovery, _record(options))
    print(f"A new key is in use for {len(folders)} data sets. Back up {custody.folder} and the files `keys` again.")
    return 0


def _recover(custody: Custody, options: argparse.Namespace) -> int:
    version = lifecycle.recover(custody, lifecycle.find(custody, options.name), options.recovery, _record(options))
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


COMMANDS = {
    "custody": Command(CUSTODY, _custody_arguments, _keep),
}
