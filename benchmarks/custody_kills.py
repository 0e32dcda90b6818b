"""SIGKILL while a hospital imports, backs up, writes to its log, changes keys, restores: what is lost?

    python benchmarks/custody_kills.py [--injections 1100]        some minutes

Every injection is a process of its own that is killed: every other one at the n-th thing that it does to the disk (a
file opened, written half, flushed, cut, renamed, removed; each n in turn), the others at a random moment. Afterwards
all that was stored before is read again, decrypted, and compared byte by byte; then the same thing is done again, in
some cases only after further kills, and must come to its end. A process that ended before the kill is none.

What this does not show: a power failure, in which a disk forgets what was not flushed. The order of flushes is kept for
that, and tests hold some of it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.backup import restore
from client.custody import importer, lifecycle
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from client.home import Home
from client.plans import judge
from common.audit.log import Log
from common.errors import ConsiliumError
from tests.admitted import home_of
from tests.backup.places import Place
from tests.custody import faults
from tests.custody.hospital import folder_of_dicoms, taken_in

Kept = dict[str, bytes]
"""What is stored, by name."""


class Operation(ABC):
    """Something that is done to a site, and how it is seen what became of it."""

    share = 0.2
    """Of all injections."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder / "place")
        self.start = folder / "start"

    @abstractmethod
    def act(self) -> None:
        """Do it."""

    @abstractmethod
    def kept(self) -> Kept:
        """All that is stored, read by the ways that people read it.

        Raises:
            ConsiliumError: the state is not whole.
        """

    @abstractmethod
    def complete(self, after: Kept) -> bool:
        """Whether what should come of it is there."""

    def save(self) -> None:
        """From here each injection begins."""
        shutil.copytree(self.place.folder, self.start, symlinks=True)

    def reset(self) -> None:
        """Back to that."""
        shutil.rmtree(self.place.folder)
        shutil.copytree(self.start, self.place.folder, symlinks=True)


def images(custody: Custody) -> Kept:
    """Of all data sets, decrypted, and their cases."""
    found: Kept = {}
    for folder in lifecycle.data_sets(custody):
        if not (folder / "keys").exists():
            continue
        store = EncryptedDataset.open(custody, folder)
        found |= {f"{folder.name} {i}": bytes(store.read(i)) for i in range(len(store.index.objects))}
        found |= {f"{folder.name} case {i}": repr(case).encode() for i, case in enumerate(store.index.cases)}
    return found


class Import(Operation):
    """Six images to two that are there, each committed by itself."""

    share = 0.25

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.place.bring(2)
        self.source = folder_of_dicoms(folder / "more", 6, size=24)
        self.save()

    def act(self) -> None:
        """Import."""
        taken_in(self.place.custody, self.source)

    def kept(self) -> Kept:
        """Images and cases."""
        return images(self.place.custody)

    def complete(self, after: Kept) -> bool:
        """All are in."""
        return sum(" case " in name for name in after) == 8


class Backup(Operation):
    """A second snapshot, of more images and a new key."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.place.bring(2)
        self.place.backup()
        self.place.bring(4)
        lifecycle.rotate(self.place.custody)
        self.save()

    def act(self) -> None:
        """Back up."""
        self.place.backup()

    def kept(self) -> Kept:
        """Every file of every snapshot."""
        vault = self.place.vault
        if problems := self.place.problems():
            raise ConsiliumError(problems[0])
        return images(self.place.custody) | {
            f"{number} {file.path}": b"".join(vault.piece(digest, name, file.sealed) for digest, name in file.pieces)
            for number in vault.numbers()
            for file in vault.snapshot(number).files
        }

    def complete(self, after: Kept) -> bool:
        """The new one is there, and nothing that was half written is."""
        return any(name.startswith("2 ") for name in after) and not list(self.place.disk.rglob(".*.*"))


class Audit(Operation):
    """Three entries to twenty."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for i in range(20):
            self.log.record("import", facts={"cases": i})
        self.save()

    @property
    def log(self) -> Log:
        """The site's."""
        return Log(self.place.home.folder / "audit", "site lisbon")

    def act(self) -> None:
        """Write."""
        for i in range(3):
            self.log.record("killed", facts={"entry": i})

    def kept(self) -> Kept:
        """Its lines, held to the signed head."""
        self.log.verify()
        return {str(number): line for number, line in enumerate(self.log.lines())}

    def complete(self, after: Kept) -> bool:
        """The last three are there."""
        return [b'"entry":%d}' % i in line for i, line in enumerate(list(after.values())[-3:])] == [True] * 3


class Rotation(Operation):
    """A new key for two data sets and a backup."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.place.bring(4)
        self.place.bring(2, "breast", seed=3)
        self.place.backup()
        self.before = set(self.place.custody.ring().wrapping)
        self.save()

    def act(self) -> None:
        """Rotate."""
        lifecycle.rotate(self.place.custody)

    def kept(self) -> Kept:
        """Images, and what the backup has of them."""
        return images(self.place.custody) | {"snapshot": self.place.vault.snapshot(1).model_dump_json().encode()}

    def complete(self, after: Kept) -> bool:
        """One key, another than before."""
        ring = set(self.place.custody.ring().wrapping)
        return len(ring) == 1 and not ring & self.before


class Restoration(Operation):
    """A site of four images from its backup."""

    share = 0.15

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.place.bring(4)
        self.place.backup()
        self.expected = images(self.place.custody)
        self.save()

    @property
    def new(self) -> Home:
        """Where to."""
        return home_of(self.place.folder / "new")

    def act(self) -> None:
        """Restore; where that has come to its end, there is nothing to do."""
        there = self.new.folder
        if not (there / restore.LAST).exists() or (there / restore.MARK).exists():
            self.place.restored()

    def kept(self) -> Kept:
        """The backup, and what is a site already."""
        if problems := self.place.problems():
            raise ConsiliumError(problems[0])
        if (self.new.folder / restore.LAST).exists() and not judge.restored_s(self.new) > 0:
            raise ConsiliumError("a site that does not know that it was restored")
        return {str(path): path.read_bytes() for path in self.place.disk.rglob("*") if path.is_file()}

    def complete(self, after: Kept) -> bool:
        """A whole site, with keys of its own, and a log that says what happened."""
        self.new.log.verify()
        whole = (self.new.folder / "identity").exists() and not list(self.new.folder.rglob(".*.*"))
        whole &= not (self.new.folder / restore.MARK).exists()
        return whole and images(Custody(self.new)) == self.expected


OPERATIONS: dict[str, type[Operation]] = {
    "import": Import, "backup": Backup, "audit": Audit, "rotation": Rotation, "restore": Restoration,
}  # fmt: skip


# --- killing --------------------------------------------------------------------------------------------------------


def killed_at_random(action: Callable[[], object], longest_s: float, draw: random.Random) -> bool:
    """Run an action in a process of its own and kill it at some moment; whether that was before its end."""
    if not (child := os.fork()):
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    time.sleep(draw.random() * longest_s)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def lost(before: Kept, after: Kept) -> int:
    """Bytes of what was there and is not, or is other than it was."""
    return sum(len(content) for name, content in before.items() if after.get(name) != content)


def injections(operation: Operation, wanted: int, draw: random.Random) -> dict[str, int]:
    """So many kills of one operation."""
    points = faults.count(operation.act)
    operation.reset()
    began = time.perf_counter()
    operation.act()
    took_s = time.perf_counter() - began
    counts = {"injections": 0, "states_recovered": 0, "bytes_lost": 0, "bytes_compared": 0, "write_points": points}
    at = 0
    while counts["injections"] < wanted:
        operation.reset()
        before, whole, kills = operation.kept(), True, 0
        try:
            while kills == 0 or draw.random() < 0.25:  # sometimes again, before it comes to its end
                at += 1
                by_count = at % 2 == 0
                killed = (
                    faults.killed(operation.act, 1 + at // 2 % points) == -signal.SIGKILL
                    if by_count
                    else killed_at_random(operation.act, took_s, draw)
                )
                if not killed:
                    break
                kills += 1
                after = operation.kept()
                counts["bytes_lost"] += lost(before, after)
                counts["bytes_compared"] += sum(map(len, before.values()))
                whole &= not lost(before, after)
                before = after
            if not kills:
                continue
            operation.act()
            after = operation.kept()
            counts["bytes_lost"] += lost(before, after)
            whole &= not lost(before, after) and operation.complete(after)
        except (ConsiliumError, OSError) as error:
            print(f"  not whole: {error}")
            whole = False
        counts["injections"] += kills
        counts["states_recovered"] += kills * whole
    return counts


def main() -> None:
    """Kill, and print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--injections", type=int, default=1100, metavar="N")
    wanted = parser.parse_args().injections
    importer.COMMIT_S = importer.COMMIT_SHARE = 0.0  # after every image
    draw, found = random.Random(1), {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, kind in OPERATIONS.items():
            began = time.perf_counter()
            found[name] = injections(kind(Path(temporary) / name), round(kind.share * wanted), draw)
            each = found[name]
            print(
                f"{name:9} {each['injections']:5} kills at {each['write_points']} points and between: "
                f"{each['states_recovered']} recovered, {each['bytes_lost']} of {each['bytes_compared']:,} bytes lost, "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
    print()
    totals = {
        key: sum(each[key] for each in found.values()) for key in ("injections", "states_recovered", "bytes_lost")
    }
    print(json.dumps(totals | {"bytes_compared": sum(each["bytes_compared"] for each in found.values())} | found))


if __name__ == "__main__":
    main()
