"""A signal from one process of this machine to another that there is something new, so that nobody polls a database.

It is a file that grows by a byte each time: whoever waits compares its size, which costs microseconds. Whoever waits
for many looks at one file that grows with each of them.
"""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

COORDINATOR = "coordinator"
"""The name of the signal to all ServerApps, where it is not known whose reply came; of one, `of_run` has it."""
_ANY = ".any"
LOOK_S, QUIET_LOOK_S = 0.005, 0.05
"""How often who waits for many looks, and how often once none came for a while."""
QUIET_S = 10.0


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
            for path in (self._path, self._path.with_name(_ANY)):
                with path.open("ab") as file:
                    file.write(b".")

    def count(self) -> int:
        """How often it was sent so far."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


class SignalWatch:
    """Waits for many signals of one folder; what it costs does not grow with their number. For one event loop.

    Args:
        folder: of the signals' files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[asyncio.Event, tuple[Signal, int]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._last_s = float("-inf")  # when one came

    async def wait(self, name: str, count: int, seconds: float) -> None:
        """Until a signal was sent more than `count` times, or for so many seconds."""
        came, signal = asyncio.Event(), Signal(self._folder / name)
        self._waiting[came] = signal, count
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            if signal.count() == count:  # else it came before anybody looked for it
                await asyncio.wait_for(came.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            del self._waiting[came]

    async def _look(self) -> None:
        any_of_them, before = Signal(self._folder / _ANY), -1
        while self._waiting:
            if (now := any_of_them.count()) != before:
                for came, (signal, count) in self._waiting.items():
                    if signal.count() != count:
                        came.set()
                if before >= 0:
                    self._last_s = time.monotonic()
                before = now
            is_quiet = time.monotonic() - self._last_s > QUIET_S
            await asyncio.sleep(QUIET_LOOK_S if is_quiet else LOOK_S)
