"""A signal from one process of this machine to another that there is something new, so that nobody polls a database.

It is a file that grows by a byte each time: who waits compares its size, so that no signal is lost, and is woken by
the kernel, which tells of every file of a folder that grows (inotify(7)). Where no such kernel is, or it has no more
to give, who waits looks at the sizes now and then.
"""

import asyncio
import ctypes
import os
import select
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

COORDINATOR = "coordinator"
"""The name of the signal to all ServerApps, where it is not known whose reply came; of one, `of_run` has it."""
LOOK_S = 0.02
"""How often who waits looks where the kernel does not wake it."""
_IN_MODIFY = 0x2
_EVENT = struct.Struct("iIII")
"""wd, mask, cookie, length of the name that follows."""
_EVENTS_BYTES = 2**16


def of_run(run: int) -> str:
    """The name of the signal to the ServerApp of a Flower run: the replies to one run wake no other.

    Every other name is a site's, and none of those begins with a dot.
    """
    return f".run-{run}"


class Signal:
    """A signal of one name, between processes.

    Args:
        path: its file; whoever sends or waits may make it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self) -> None:
        """Send it. A full disk or a missing folder is no harm: who waits looks by itself now and then."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b".")

    def count(self) -> int:
        """How often it was sent so far."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


class FolderWatch:
    """Which files of a folder have grown.

    Args:
        folder: it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.descriptor = _watch(folder)
        """Can be read once a file has grown; None where the kernel does not tell."""

    def names(self) -> set[str]:
        """The files that have grown since it was asked last."""
        names = set[str]()
        if self.descriptor is not None:
            with suppress(BlockingIOError):
                while events := os.read(self.descriptor, _EVENTS_BYTES):
                    names |= set(_names_in(events))
        return names

    def close(self) -> None:
        """Let go of it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Listener:
    """Waits for any of some signals, in one thread.

    Args:
        folder: of the signals' files.
        names: theirs.
    """

    def __init__(self, folder: Path, names: Collection[str]) -> None:
        self._signals = [Signal(folder / name) for name in names]
        self._names = frozenset(names)
        self._watch = FolderWatch(folder)

    def count(self) -> int:
        """How often they were sent so far, together."""
        return sum(signal.count() for signal in self._signals)

    def wait(self, count: int, seconds: float) -> None:
        """Until they were sent more than `count` times, or for so many seconds."""
        until_s = time.monotonic() + seconds
        while self.count() == count and (rest_s := until_s - time.monotonic()) > 0:
            if self._watch.descriptor is None:
                time.sleep(min(LOOK_S, rest_s))
                continue
            while select.select([self._watch.descriptor], [], [], max(0.0, until_s - time.monotonic()))[0]:
                if self._names & self._watch.names():
                    break

    def close(self) -> None:
        """Let go of the folder."""
        self._watch.close()


class SignalWatch:
    """Waits for many signals of one folder; what it costs does not grow with their number. For one event loop.

    Args:
        folder: of the signals' files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[asyncio.Event, tuple[str, int]] = {}
        self._watch: FolderWatch | None = None
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, name: str, count: int, seconds: float) -> None:
        """Until a signal was sent more than `count` times, or for so many seconds."""
        came = asyncio.Event()
        self._waiting[came] = name, count
        self._begin()
        try:
            if not self._has_come(name, count):  # else it came before anybody looked for it
                await asyncio.wait_for(came.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            del self._waiting[came]

    def close(self) -> None:
        """Let go of the folder. For the loop that waited."""
        if self._watch and self._watch.descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._watch.descriptor)
            self._watch.close()

    def _begin(self) -> None:
        if self._watch is None:
            self._watch = FolderWatch(self._folder)
            if self._watch.descriptor is not None:
                asyncio.get_running_loop().add_reader(self._watch.descriptor, self._wake, self._watch)
        if self._watch.descriptor is None and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    def _wake(self, watch: FolderWatch) -> None:
        names = watch.names()
        for came, (name, _) in self._waiting.items():
            if name in names:
                came.set()

    async def _look(self) -> None:
        while self._waiting:
            for came, (name, count) in self._waiting.items():
                if self._has_come(name, count):
                    came.set()
            await asyncio.sleep(LOOK_S)

    def _has_come(self, name: str, count: int) -> bool:
        return Signal(self._folder / name).count() != count


def _watch(folder: Path) -> int | None:
    """A descriptor of inotify(7) for what grows in a folder; None where there is none to be had."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        system = ctypes.CDLL(None, use_errno=True)
        descriptor = int(system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if descriptor >= 0 and system.inotify_add_watch(descriptor, os.fsencode(folder), _IN_MODIFY) < 0:
            os.close(descriptor)
            return None
    except (OSError, AttributeError):  # no such function: another system
        return None
    return descriptor if descriptor >= 0 else None


def _names_in(events: bytes) -> list[str]:
    names, at = [], 0
    while at < len(events):
        *_, length = _EVENT.unpack_from(events, at)
        at += _EVENT.size + length
        names.append(os.fsdecode(events[at - length : at].rstrip(b"\0")))
    return names
