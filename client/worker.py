"""What carries out one command of somebody who came through a site's door: a process of its own, of the service's user.

    python -m client.worker PAPER CHANNEL FILE…      descriptors; only `client.access.doorkeeper` starts it

The paper says who was let in, and for what; the resident process has checked it, and made the paper. What the words of
the command name is opened by the person's process, never here.
"""

import signal

from common.cli import interrupt

if __name__ == "__main__":
    # The person's Ctrl-C comes by the door; a service that a script began in the background would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.arm()  # before the rest is imported, which takes seconds

import argparse
import json
import socket
import sys
from pathlib import Path

import yaml

from client.__main__ import COMMANDS, UNGUARDED
from client.access import command_guard, door_messages, gate, handed_file
from client.access.door_worker import PersonsProcess
from client.access.named_files import NOT_HERE, lend_all, row
from client.access.permissions import encrypted_data, rule_name
from client.home import SiteFolder
from client.memory_guard import guard_process
from client.prediction.trust import PUBLISHERS_FILE
from common import config as configuration
from common.cli.command import CommandParser, outcome
from common.cli.harmless import spell_out_what_cannot_be_shown
from common.errors import AccessError
from common.storage.lent_path import lend


def main(handles: list[int]) -> int:
    """Carry the command out; its exit status."""
    guard_process()
    spell_out_what_cannot_be_shown()
    paper, channel, *files = handles
    tree = json.loads(handed_file.content_of(paper))
    door_messages.close([paper])
    return outcome(lambda: _carry_out(tree, socket.socket(fileno=channel), files))


def _carry_out(tree: dict[str, object], channel: socket.socket, files: list[int]) -> int:
    grant, folder = tree["grant"], str(tree["folder"])
    site = SiteFolder.at(Path(str(tree["home"])))
    request, admission, person = gate.take_over(site, grant)  # type: ignore[arg-type]
    for handle, digest in zip(files, request.files.values(), strict=True):
        handed_file.demand(handle, digest)
    persons = PersonsProcess(channel, dict(zip(request.files, files, strict=True)), request.public)
    lend(person.name, persons)
    name, *words = request.words or ("",)
    if name not in COMMANDS:
        raise AccessError(f"{name}: no such command.")
    command = UNGUARDED[name]
    parser = CommandParser(f"python -m client {name}")
    COMMANDS[name].arguments(parser)
    options = parser.parse_args(words, argparse.Namespace(command=name))
    options.home = site.folder
    if row(options) in NOT_HERE:
        raise AccessError(
            f"{row(options)}: is given by the account that the site runs under alone, on its machine: it is about "
            "the machine's disks. docs/access.md"
        )
    lend_all(options, person.name, folder, _data_sets(site))
    if getattr(options, "config", None) is not None:
        _settle_data(options, persons, site)
    _refuse_what_is_not_for_here(options, site, admission.action)
    if hasattr(options, "trusted"):
        options.trusted = site.folder / PUBLISHERS_FILE.name  # the account of a service may have no home
    return command_guard.run_admitted(command, options, site, gate.Actor(person, persons, admission))


def _data_sets(site: SiteFolder) -> set[str]:
    """Names of the site's data sets, in custody and in site.yaml."""
    custody = (
        {path.name for path in (site.folder / "sets").iterdir()} if (site.folder / "sets").is_dir() else set[str]()
    )
    return custody | site.settings.datasets.keys()


def _settle_data(options: argparse.Namespace, persons: PersonsProcess, site: SiteFolder) -> None:
    """A configuration names an encrypted data set by a path of the person's: here it is the one of that name."""
    tree = configuration.parse_yaml(options.config.read_bytes(), options.config)
    for override in getattr(options, "overrides", ()):
        configuration.lay_over(tree, override)
    data = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(data, dict) or data.get("kind") != "encrypted" or not isinstance(data.get("path"), str):
        return
    tree["data"] = {key: data[key] for key in data.keys() - {"home", "cache"}}
    tree["data"]["path"] = str(site.folder / "sets" / Path(data["path"]).name)
    options.overrides = []
    persons.stand_in(options.config.lent_name, yaml.safe_dump(tree).encode())


def _refuse_what_is_not_for_here(options: argparse.Namespace, site: SiteFolder, action: str) -> None:
    """Hold the words against what was let in.

    Raises:
        AccessError: they are another command than its signer claimed, or one that is not for the door.
    """
    if row(options) == "catalogue take" and options.out is None:
        raise AccessError("catalogue take: say --out FILE, where it is to be written.")
    if (trusted := getattr(options, "trusted", PUBLISHERS_FILE)) != PUBLISHERS_FILE:
        raise AccessError(f"--trusted {trusted}: publishers that were compared are remembered at the site.")
    if (name := rule_name(options)) != action:
        raise AccessError(f"{name}: was asked for as `{action}`, and that is another row of the table.")
    if (data := encrypted_data(options) if getattr(options, "config", None) else None) is None:
        return
    path = data.path if isinstance(data.path, Path) else data.path[-1]
    if path.parent.resolve() != (site.folder / "sets").resolve() or data.cache is not None:
        raise AccessError(f"{path}: expected a data set in {site.folder / 'sets'}, and no cache elsewhere.")


if __name__ == "__main__":
    interrupt.program(lambda: main([int(word) for word in sys.argv[1:]]))
