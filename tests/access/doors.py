"""A site whose door is open in this process, as the resident process opens it."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client import __main__ as hospital
from client.access import door, door_messages
from client.access.doorkeeper import Doorkeeper
from client.access.permissions import rule_name
from client.home import SiteFolder
from common.cli.command import CommandParser
from tests.access.staff import Site


def parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser()
    hospital.COMMANDS[words[0]].arguments(parser)
    return parser.parse_args(list(words[1:]), argparse.Namespace(command=words[0], line=list(words)))


@dataclass
class OpenDoor:
    """What somebody gets who gives commands at it."""

    site: Site

    def give(self, *words: str | Path, by: str) -> door.Answer:
        """A command with the files that it names, as the command line gives it; its output."""
        typed = [str(word) for word in words]
        options = parsed([*typed, "--home", str(self.site.home.folder)] if "--home" not in typed else typed)
        key = self.site.key(by)
        files = [os.memfd_create("answer"), os.memfd_create("errors")]
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            status = door.ask(
                self.site.home.folder, options.line, rule_name(options), key, options=options, streams=(nothing, *files)
            )
            return door.Answer(status, *(os.pread(file, 1 << 20, 0).decode() for file in files))
        finally:
            door_messages.close([nothing, *files])


@contextmanager
def open_door(site: Site) -> Iterator[OpenDoor]:
    """Its door, until this ends."""
    with Doorkeeper(SiteFolder(site.home.folder)).open():
        yield OpenDoor(site)
