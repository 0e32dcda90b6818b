"""Which of a supervisor's processes there are: as it noted them, as they carry its mark, and how they fare.

A process id says little, for ids are given anew: what is taken for ours was born when noted, or carries the mark.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from common.errors import RunError
from common.storage.files import read_json, write_json

MARK = "CONSILIUM_SUPERVISED_BY"
"""In the environment of every process that a supervisor starts, and of all that those start: its folder."""


@dataclass(frozen=True)
class ProcessState:
    """How a process of the supervisor's fares."""

    name: str
    pid: int = 0
    since_s: float = 0.0
    """When it was started, seconds since 1970, UTC; 0 while it is down."""
    restarts: int = 0
    rss_bytes: int = 0


def process_states(folder: Path) -> tuple[ProcessState, ...]:
    """How the children of the supervisor in this folder fare; any process may ask."""
    return tuple(_as_it_is(entry) for entry in _read(folder))


def note(folder: Path, states: Sequence[ProcessState]) -> None:
    """Write down which processes there are.

    Raises:
        OSError: if it cannot be written.
    """
    write_json(folder / "processes.json", [asdict(state) for state in states], durably=False)


def _read(folder: Path) -> list[ProcessState]:
    try:
        return [ProcessState(**entry) for entry in read_json(folder / "processes.json") or []]
    except (RunError, TypeError):  # damaged, or of another release
        return []


def left_running(folder: Path) -> list[psutil.Process]:
    """What still runs of this folder's processes, by its mark, or as noted: the SuperExec hides its environment."""
    processes = [process for entry in _read(folder) if (process := _process(entry)) is not None]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder) and runs(process) and process not in processes:
                processes.append(process)
    return processes


def _process(entry: ProcessState) -> psutil.Process | None:
    """The process that was noted, if it still runs, and the number is not another's by now."""
    with suppress(psutil.Error, ValueError):
        process = psutil.Process(entry.pid)
        if entry.pid and abs(process.create_time() - entry.since_s) < 2 and runs(process):
            return process
    return None


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; one that was not collected yet has."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _as_it_is(entry: ProcessState) -> ProcessState:
    with suppress(psutil.Error):
        if process := _process(entry):
            return replace(entry, rss_bytes=process.memory_info().rss)
    return ProcessState(entry.name, restarts=entry.restarts)
