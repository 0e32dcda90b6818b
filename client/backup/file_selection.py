"""What of a site's folder goes into a backup, and what never does.

A round of secure aggregation is answered once. Whoever sets its state back may answer it again, with other content, and
two answers to one round tell what neither tells alone. So nothing of it is here, nor the keys that it is answered
under: a restored site has new keys, and takes part in nothing that was planned before. The ledger of all that it ever
answered is here: without it the same could be asked of it again over other sites.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.access import door_messages
from client.custody import lifecycle
from client.custody.encrypted_dataset import INDEX, NEXT_INDEX
from client.custody.key_ring import Custody

EXCLUDED = {
    "identity",
    "node",
    "state",
    "ledger.lock",
    "journal",
    "restored",
    "old",
    "sets",
    "cache",
    "drills",
    "resident.json",
    door_messages.NAME,
}
"""At the top of the folder: the keys that answers are given under, the one-shot state, the mail on its way, what
`rekey` put aside, the socket of a process that runs; data sets come by themselves, decoded images are made again."""
OF_A_RUN = {"plan.json", "decision.json"}
"""Of `plans/DIGEST`; all else there is a run's state."""
NOTES = "custody/backups"
"""How far each backup had come: of this machine, not of what is in one."""
SMALL = {"keys", INDEX, NEXT_INDEX}
"""Of a data set: replaced as a whole, and read before the packs, which only grow."""


@dataclass(frozen=True)
class SelectedFile:
    """One file that goes into a backup."""

    path: str
    """In the site's folder, with slashes."""
    file: Path
    is_sealed: bool
    """Whether it has to be encrypted on its way; packs are already."""


def small_files(custody: Custody) -> Iterator[SelectedFile]:
    """All but packs. Who reads them holds the keys, so that none is changed meanwhile."""
    home = custody.home.folder
    for place, folders, files in os.walk(home):
        inside = Path(place).relative_to(home)
        folders[:] = sorted(name for name in folders if not _is_excluded(inside / name))
        for name in sorted(files):  # a log's head before the log, which then has at least what the head says
            if not name.startswith(".") and not _is_excluded(inside / name):
                yield SelectedFile((inside / name).as_posix(), Path(place) / name, is_sealed=True)
    for folder in lifecycle.data_sets(custody):
        for name in sorted(SMALL):
            if (folder / name).exists():
                yield SelectedFile(f"sets/{folder.name}/{name}", folder / name, is_sealed=True)


def pack_files(folder: Path) -> Iterator[SelectedFile]:
    """The packs of a data set: encrypted already, and they only grow."""
    for file in sorted((folder / "packs").iterdir()):
        yield SelectedFile(f"sets/{folder.name}/packs/{file.name}", file, is_sealed=False)


def _is_excluded(path: Path) -> bool:
    parts = path.parts
    of_a_run = len(parts) == 3 and parts[0] == "plans" and parts[2] not in OF_A_RUN
    return parts[0] in EXCLUDED or path.as_posix() == NOTES or of_a_run
