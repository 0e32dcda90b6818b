"""What of the coordinator's folder is kept, how it is written to one file, and how a folder is made of that again.

All is kept but `live/`, which the processes make again, and the key of the backup. A restored coordinator does not
know what happened since: sites may have seen a later roster, and answered later rounds. So its next roster's version is
above all that there may have been, and no run goes on that went on then.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from common.errors import BackupError, ConfigError, ConsiliumError
from common.storage import tensorfile
from common.storage.files import flush_folder, write_json, write_secret
from common.trust.release import VERSION
from server.backup.sealed_file import KEY_BYTES, SealedReader, SealedWriter
from server.consortium.home import Home
from server.runs.run import Run
from server.runs.run_state import OVER

EXCLUDED = {"live", "backup.key", "restored.json"}
SUFFIX = ".backup"
LEAP = 1000
"""The next roster is so many versions above the one in the backup: those that came after it are older."""
ABOUT = "backup.json"


@dataclass(frozen=True)
class StoredBackup:
    """What was written or read."""

    path: Path
    about: dict[str, Any]
    files: int
    size_bytes: int


def key_of(home: Home, recovery: Path | None, dest: Path) -> bytes:
    """The key that backups are sealed under; made at the first, when it is also written to the recovery file.

    Args:
        dest: where the backups go.

    Raises:
        ConfigError: there is none yet, and nowhere to put the recovery key; or that is beside what it opens, or
            another key than the one that was made at the first.
    """
    path = home.folder / "backup.key"
    if recovery is not None and path.exists():
        if not recovery.exists() or read_key(recovery) != read_key(path):
            raise ConfigError(
                f"--recovery {recovery}: the recovery key was written at the first backup here, and is not made again. "
                "Leave it out. If that file is lost, copy backup.key of this folder to where the recovery key is kept."
            )
    elif recovery is not None:
        for folder in (dest, home.folder):
            if recovery.resolve().is_relative_to(folder.resolve()):
                raise ConfigError(
                    f"--recovery {recovery}: is in {folder}, and would lie beside what it opens. Expected another "
                    "medium."
                )
    if not path.exists():
        if recovery is None:
            raise ConfigError(
                "no backup was made here yet: expected --recovery FILE, to which the key is written that opens all "
                "backups. Put it away, on another medium than they."
            )
        key = os.urandom(KEY_BYTES).hex().encode()
        write_secret(recovery, key)
        write_secret(path, key)
    return read_key(path)


def read_key(path: Path) -> bytes:
    """A key from its file.

    Raises:
        ConfigError: it holds none.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: expected a recovery key, {2 * KEY_BYTES} hexadecimal digits.")
    return key


def write(home: Home, folder: Path, key: bytes) -> StoredBackup:
    """Write a new backup into a folder; whole, or not there.

    Raises:
        OSError: the disk is full, or not there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{home.settings.consortium}-{_next_number(home, folder):06d}{SUFFIX}"
    head = home.log.head()
    about = {
        "consortium": home.settings.consortium, "release": VERSION, "at_s": round(time.time(), 3),
        "roster": home.roster.version, "log": head.size if head else 0,
    }  # fmt: skip
    count = size = 0
    half = path.with_name(f".{path.name}")
    try:
        with tensorfile.naming(half), half.open("wb") as file:
            half.chmod(0o600)
            writer = SealedWriter(file, key)
            with tarfile.open(fileobj=cast(Any, writer), mode="w|") as archive:
                _add(archive, ABOUT, json.dumps(about).encode())
                for inside, source in _files(home.folder):
                    with suppress(FileNotFoundError):  # a run went on meanwhile
                        content = source.read_bytes()
                        _add(archive, inside, content, source.stat().st_mode & 0o777)
                        count, size = count + 1, size + len(content)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        half.unlink(missing_ok=True)  # half a backup takes room of a disk that may be full
        raise
    half.rename(path)
    flush_folder(folder)
    return StoredBackup(path, about, count, size)


def backups(folder: Path, consortium: str = "*") -> list[Path]:
    """The backups in a folder, oldest first."""
    return sorted(folder.glob(f"{consortium}-??????{SUFFIX}"))


@contextmanager
def unpacked_backup(path: Path, key: bytes, beside: Path | None = None) -> Iterator[tuple[Path, StoredBackup]]:
    """A folder with all that is in a backup, every byte verified; it is removed afterwards if it is still there.

    Args:
        beside: where it is made; none: where this system puts temporary files.

    Raises:
        BackupError: it is damaged, or sealed under another key.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".consilium-restore-", dir=beside))
    try:
        with tensorfile.naming(scratch), path.open("rb") as file:
            reader = SealedReader(file, key, path)
            with tarfile.open(fileobj=cast(Any, reader), mode="r|") as archive:
                archive.extractall(scratch, filter="data")
            reader.read()  # to the end: a file that was cut is refused
        about = json.loads((scratch / ABOUT).read_bytes())
        (scratch / ABOUT).unlink()
        files = [file for file in scratch.rglob("*") if file.is_file()]
        yield scratch, StoredBackup(path, about, len(files), sum(file.stat().st_size for file in files))
    except (tarfile.TarError, FileNotFoundError, ValueError) as error:
        raise BackupError(f"{path}: is no whole backup ({error}). Try another one.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def restore(path: Path, key: bytes, folder: Path) -> StoredBackup:
    """A coordinator's folder from a backup, at once: a kill leaves none, or a whole one.

    Raises:
        ConfigError: the folder is not empty.
        BackupError: the backup is damaged.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty, and nothing is restored over what is there. Give another --home.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unpacked_backup(path, key, folder.parent.resolve()) as (scratch, report):
        home = Home(scratch)
        write_secret(scratch / "backup.key", key.hex().encode())
        content = {"at_s": time.time(), "backup": report.about, "roster_above": home.roster.version + LEAP}
        write_json(scratch / "restored.json", content)
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.about["at_s"]))
        for run in [run for run in Run.all(home) if run.state.stage not in OVER]:
            run.end("failed", f"the coordinator was restored from a backup of {day}. Draw up the plan again.")
        home.log.record("restore", facts={"files": report.files, "log": report.about["log"]})
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    flush_folder(folder.parent)
    return report


def examine(folder: Path, like: Path) -> list[str]:
    """What is wrong with a restored folder: settings, signatures, log, plans. A rehearsal ends with it.

    Args:
        like: the coordinator's own folder now, whose signed roots it must have.
    """
    home, problems = Home(folder), list[str]()
    looks: dict[str, Callable[[], object]] = {
        "consortium.yaml": lambda: home.settings,
        "the roots": lambda: _same_consortium(home, Home(like)),
        "the roster": lambda: home.roster,
        "the requests": home.requests,
        "the log": home.log.verify,
        "the plans": lambda: [run.plan for run in Run.all(home)],
    }
    for what, look in looks.items():
        try:
            look()
        except (ConsiliumError, OSError) as error:
            problems.append(f"{what}: {error}")
    return problems


def unchanged(folder: Path, home: Home) -> int:
    """How many files are the same in the coordinator's folder now, byte by byte."""
    pairs = ((source, home.folder / inside) for inside, source in _files(folder))
    return sum(there.is_file() and _digest(there) == _digest(source) for source, there in pairs)


def _same_consortium(one: Home, other: Home) -> None:
    if one.pins.federation != other.pins.federation:
        raise ConfigError(f"of {one.pins.federation}, expected {other.pins.federation}.")


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All that is kept, by its path inside. A log's head comes before the log, which then has what the head says."""
    for place, folders, names in os.walk(folder):
        inside = Path(place).relative_to(folder)
        folders[:] = sorted(name for name in folders if inside.parts or name not in EXCLUDED)
        for name in sorted(names):
            if not name.startswith(".") and (inside.parts or name not in EXCLUDED):
                yield (inside / name).as_posix(), Path(place) / name


def _add(archive: tarfile.TarFile, inside: str, content: bytes, mode: int = 0o600) -> None:
    info = tarfile.TarInfo(inside)
    info.size, info.mode, info.mtime = len(content), mode, int(time.time())
    archive.addfile(info, io.BytesIO(content))


def _next_number(home: Home, folder: Path) -> int:
    there = backups(folder, home.settings.consortium)
    return int(there[-1].stem[-6:]) + 1 if there else 1
