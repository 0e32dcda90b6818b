"""Which words of a command name files of the person who gives it, and what becomes of them at the door.

READ    read as a whole by the person's process, and handed in with the command, whose signature is over its digest
BENEATH a file or a folder: opened by the person's process piece by piece, as the command asks for it
WRITE   written by the person's process; a folder: files in it

A word that names a file and stands in no row here is refused at the door: nothing is opened with the service's rights
because somebody named it.
"""

import argparse
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import AccessError
from common.storage.lent_path import LentPath, lent_path

Use = Literal["read", "beneath", "write"]
READ: Use = "read"
BENEATH: Use = "beneath"
WRITE: Use = "write"

NAMED: dict[str, dict[str, Use]] = {
    "join": {"welcome": READ},
    "check": {"config": READ},
    "preview": {"config": READ, "image": BENEATH, "out": WRITE},
    "compare": {"model": READ},
    "predict": {"model": READ, "images": BENEATH, "out": WRITE, "csv": WRITE, "json": WRITE},
    "import": {"source": BENEATH, "labels": READ, "worklist": READ, "report": WRITE},
    "pacs add": {"token_file": READ, "basic_file": READ, "tls_ca": READ, "tls_cert": READ, "tls_key": READ},
    "pacs find": {"worklist": READ},
    "custody begin": {"recovery": WRITE},
    "custody rotate": {"recovery": WRITE},
    "custody recover": {"recovery": READ},
    "patients find": {"file": READ},
    "patients remove": {"file": READ, "receipt": WRITE},
    "patients readmit": {"file": READ},
    "patients relabel": {"file": READ},
    "catalogue take": {"out": WRITE},
    "catalogue offer": {"what": READ},
    "audit verify": {"holds": READ},
    "audit export": {"file": WRITE},
}
STAYS = {"home", "as_key", "trusted"}
"""Paths among the options that the service decides on."""
NOT_HERE = frozenset({
    "run", "page", "metrics", "install-service", "rekey", "backup", "backup list", "backup verify", "backup drill",
    "backup prune", "restore",
})  # fmt: skip
"""What is given by the service's own account alone: it is about the machine, and its disks."""


PLACES = ("path", "cache", "home", "download", "kind")
"""Keys of a data set that would name a place of the service's own."""


@dataclass(frozen=True)
class NamedFile:
    """One word that names a file."""

    option: str
    use: Use
    path: str
    """Absolute, at the person's."""


def row(options: argparse.Namespace) -> str:
    """The command and its action, without what the options make of it."""
    return " ".join(word for word in (options.command, getattr(options, "action", None)) if word)


def named_files(options: argparse.Namespace, folder: str) -> Iterator[NamedFile]:
    """The files that a command names, in the person's process.

    Args:
        folder: where it was given, which relative paths are relative to.
    """
    for option, use in NAMED.get(row(options), {}).items():
        for word in _words(options, option):
            path = absolute(folder, word)
            if word != "-" and (option != "what" or Path(path).is_file()):
                yield NamedFile(option, use, path)
            if option == "source" and options.labels is None and Path(path).is_file():
                yield NamedFile(option, use, str(Path(path).parent))  # a list, whose images lie beside it


def lend_all(options: argparse.Namespace, owner: str, folder: str, sets: Collection[str]) -> None:
    """Put paths that are lent in the place of all words that name files, in the worker.

    Args:
        sets: names of the site's data sets, which no file of the person is meant by.

    Raises:
        AccessError: a path that cannot come through the door.
    """

    def lent(option: str, word: str) -> str | LentPath:
        is_of_site = option in ("what", "image", "images") and word.partition("/")[0] in sets
        return word if word == "-" or is_of_site else lent_path(owner, absolute(folder, word))

    words_by_option = {
        option: _words(options, option) for option in NAMED.get(row(options), {})
    }  # one is named after another
    for option, words in words_by_option.items():
        paths = [lent(option, word) for word in words]
        setattr(options, option, paths if isinstance(getattr(options, option), list) else paths[0] if paths else None)
    for word in getattr(options, "data", None) or ():
        if (key := word.partition("=")[0].strip().split(".")[0]) in PLACES:
            raise AccessError(f"--data {word}: {key} is not for the door, where the files are what SOURCE names.")
    for option, value in vars(options).items():
        for each in value if isinstance(value, list) else [value]:
            if type(each) is type(Path()) and option not in STAYS:
                raise AccessError(f"--{option} {each}: names a file in a way that the door of a site does not know.")


def absolute(folder: str, word: str) -> str:
    """A path as the person means it; `~` the shell has made a path of."""
    return os.path.normpath(Path(folder) / word)


def _words(options: argparse.Namespace, option: str) -> list[str]:
    value = getattr(options, option, None)
    if value is None and (row(options), option) == ("preview", "out"):
        value = "preview.png"
    if value is None and option == "report" and options.worklist is not None:
        value = f"{options.worklist}.report.csv"
    return [str(word) for word in (value if isinstance(value, list) else [value]) if word is not None]
