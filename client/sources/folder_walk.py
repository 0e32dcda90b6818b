"""What lies in a folder: files, and all that is passed over, each with its reason. Nothing vanishes in silence.

`Path.rglob` follows no link to a folder, and passes over folders that it may not read: both took images away from
data sets without a word.
"""

import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from client.sources.case_table import Problem
from common.cli.harmless import legible
from common.storage.lent_path import real_path

_LITTER = re.compile(
    r"\..*|~.*|@.*|\$.*|#(recycle|snapshot)|.*@syno(resource|eastream)|__macosx|lost\+found|found\.\d{3}|recycle[dr]|"
    r"recycle\.bin|system volume information|network trash folder|temporary items",
    re.IGNORECASE,
)
"""Names of what systems and network drives leave in folders: Windows, macOS, Synology, QNAP, NetApp."""
_LITTER_FILES = re.compile(
    r".*~|#.*#|.*:zone\.identifier|file\d{4}\.chk|(eh)?thumbs.*\.db.*|desktop\.ini|picasa\.ini|"
    r"icon\r|wpsettings\.dat|aquota\.(user|group)|dicomdir|autorun\.inf|"
    r".*\.(tmp|part|partial|crdownload|lnk|url|swp|bak|orig|!ut|ffs_(db|tmp|lock))",
    re.IGNORECASE,
)
"""The same of files alone: media and editors leave them as well."""
NAMED = 20


@dataclass
class Found:
    """What was met below some folders."""

    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """What could not be opened: images may be missing."""
    litter: list[Path] = field(default_factory=list)
    """What systems leave."""
    beside: list[Path] = field(default_factory=list)
    """Files where folders are expected, and links back."""

    def unused(self) -> tuple[str, ...]:
        """What was found and not used, counted and named."""
        kinds = [(self.litter, "files or folders of systems"), (self.beside, "files or folders outside of any class")]
        return tuple(f"found and not used: {len(paths)} {what}: {_names(paths)}" for paths, what in kinds if paths)

    def folders(self, path: Path) -> list[Path]:
        """The folders in a folder, in order; files beside them are noted."""
        folders = []
        for entry, mode in self._entries(path):
            if stat.S_ISDIR(mode):
                folders.append(entry)
            else:
                self.beside.append(entry)
        return folders

    def walk(self, folder: Path) -> list[Path]:
        """All files below a folder, through links as well, in order; they are kept too."""
        files, waiting = [], [(folder, frozenset[str]())]
        while waiting:
            place, above = waiting.pop()
            here = above | {real_path(place)}
            for entry, mode in self._entries(place):
                if stat.S_ISREG(mode):
                    files.append(entry)
                elif stat.S_ISDIR(mode) and real_path(entry) in here:
                    self.beside.append(entry)  # a link back to a folder around it
                elif stat.S_ISDIR(mode):
                    waiting.append((entry, here))
                else:
                    self.problems.append(Problem(str(entry), None, "neither a file nor a folder; remove it"))
        files.sort()
        self.files += files
        return files

    def _entries(self, folder: Path) -> Iterator[tuple[Path, int]]:
        """What a folder holds but litter, in order, with the mode of what it is or leads to."""
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self.problems.append(Problem(str(folder), None, f"a folder that cannot be read ({error.strerror})"))
            return
        for entry in entries:
            try:
                mode = None if _LITTER.fullmatch(entry.name) else entry.stat().st_mode
            except OSError as error:
                what = f"cannot be looked at ({error.strerror})"
                if entry.is_symlink():
                    what = f"a link to {legible(str(entry.readlink()))}, which leads nowhere ({error.strerror})"
                self.problems.append(Problem(str(entry), None, what))
                continue
            if mode is None or (stat.S_ISREG(mode) and _LITTER_FILES.fullmatch(entry.name)):
                self.litter.append(entry)
            else:
                yield entry, mode


def _names(paths: Iterable[Path]) -> str:
    """`.DS_Store (4), lost+found`"""
    counts = Counter(path.name for path in paths)
    names = [legible(name) + (f" ({count})" if count > 1 else "") for name, count in counts.most_common(NAMED)]
    return ", ".join(names) + (f" and {len(counts) - NAMED} more names" if len(counts) > NAMED else "")
