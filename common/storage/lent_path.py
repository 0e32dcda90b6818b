"""Paths of files that are another process's to open: it opens them with its own rights, and hands the descriptor over.

Behind a site's door a command runs as the service, and a person names files. Were their names opened here, the service
would read and write for the person what only it may. So they become `LentPath`: a path like others for code that reads
and writes by the methods of `Path`, which asks the person's process. To the system it is no path: `open(path)` and
`os.stat(path)` raise, and its text, `ana:/export/list.csv`, leads nowhere.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import IO, Any, Protocol

from common.errors import AccessError


class Lender(Protocol):
    """The process that opens files, seen from the one that reads and writes them. Names are absolute paths there."""

    def stat(self, name: str) -> os.stat_result:
        """Of what it is or leads to; raises OSError as `os.stat`."""
        ...

    def names(self, name: str) -> list[str]:
        """What a folder holds; raises OSError as `os.listdir`."""
        ...

    def open(self, name: str) -> int:
        """A descriptor to read from the beginning; raises OSError as `os.open`."""
        ...

    def write_whole(self, name: str, content: bytes, mode: int, *, anew: bool) -> None:
        """Write a file as a whole; `anew`: raise FileExistsError where there is one."""
        ...


_lenders: dict[str, Lender] = {}


def lend(owner: str, lender: Lender) -> None:
    """From now on, in this process, `lent_path` of this owner reads and writes through this lender."""
    _lenders[owner] = lender


def lent_path(owner: str, name: str) -> "LentPath":
    """A file that somebody named, by its absolute path; messages call it `OWNER:/PATH`."""
    return LentPath(f"{owner}:{name}")


class LentPath(PosixPath):
    """A path whose file another process opens. Paths made of it (`/`, `parent`, `with_name`) are lent as well."""

    @property
    def lender(self) -> Lender:
        """The process that opens it."""
        if (lender := _lenders.get(self._split[0])) is None:
            raise AccessError(f"{self}: is nobody's who came through the door.")
        return lender

    @property
    def lent_name(self) -> str:
        """Its absolute path, at its owner's."""
        return self._split[1]

    @property
    def _split(self) -> tuple[str, str]:
        owner, _, name = str(self).partition(":")
        return owner, name

    def __fspath__(self) -> str:
        raise AccessError(f"{self}: a command that comes through the door cannot use this file in this way.")

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Of what it leads to, also where it is a link."""
        return self.lender.stat(self.lent_name)

    def is_symlink(self) -> bool:
        """Never: links are followed by whoever opens it."""
        return False

    def iterdir(self) -> Iterator["LentPath"]:  # type: ignore[override]
        """What the folder holds."""
        return (self / name for name in self.lender.names(self.lent_name))

    def open(self, mode: str = "r", *more: Any, **options: Any) -> IO[Any]:  # type: ignore[override]
        """Open it to read; it is written as a whole, by `write_whole`."""
        if set(mode) - set("rbt"):
            raise AccessError(f"{self}: is written as a whole or not at all.")
        return os.fdopen(self.lender.open(self.lent_name), mode, *more, **options)

    def write_whole(self, content: bytes, mode: int = 0o644, *, anew: bool = False) -> None:
        """Write it as a whole, with the folders around it."""
        self.lender.write_whole(self.lent_name, content, mode, anew=anew)

    def write_bytes(self, data: Any) -> int:
        """Write it as a whole."""
        self.write_whole(bytes(data))
        return len(data)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is made when something is put into it."""

    def resolve(self, strict: bool = False) -> "LentPath":
        """Itself: where links lead only its owner knows."""
        return self

    def absolute(self) -> "LentPath":
        """Itself."""
        return self

    def expanduser(self) -> "LentPath":
        """Itself."""
        return self


def real_path(path: Path) -> str:
    """Where a path leads, links followed; of a lent one only its owner knows, and it stands for itself."""
    return str(path) if isinstance(path, LentPath) else os.path.realpath(path)
