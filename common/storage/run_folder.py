"""A run's own folder: nothing in it is overwritten, and one process at a time works in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import RunError
from common.storage import file_lock

LEFT_BEHIND = {".lock", "config.yaml", "log.txt"}


@contextmanager
def run_folder(out: Path | None, name: str, resume: bool) -> Iterator[Path]:
    """The run's own folder, held by this process alone.

    Raises:
        RunError: if it holds something already and is not to be resumed, or another process is at it.
    """
    folder = out or next_folder(Path("runs") / name, resume)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--out {folder}: is a file, expected a folder.")
    if _is_in_use(folder) and not resume:
        raise RunError(f"--out {folder}: is not empty. Go on with that run by --resume, or give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, f"--out {folder}: another process is running here. Wait for it, or stop it."):
        yield folder


@contextmanager
def lock_folder(folder: Path, otherwise: str) -> Iterator[None]:
    """Hold a folder for this process alone, until the end of the block or of the process.

    Raises:
        RunError: saying `otherwise`, if another process holds it.
    """
    with (folder / ".lock").open("w", encoding="utf-8") as lock:
        if not file_lock.take(lock):
            raise RunError(otherwise)
        yield


def next_folder(base: Path, resume: bool) -> Path:
    """runs/NAME, or NAME-2, NAME-3 … where that is taken; the latest of them to resume."""
    names = [base] + [base.with_name(f"{base.name}-{i}") for i in range(2, 10_000)]
    free = next(i for i, folder in enumerate(names) if not _is_in_use(folder))
    return names[max(free - 1, 0)] if resume else names[free]


def _is_in_use(folder: Path) -> bool:
    """Something is in it that a run which ended in an error at once would not have left."""
    if not folder.is_dir():
        return folder.exists()
    return any(file.name not in LEFT_BEHIND for file in folder.iterdir())
