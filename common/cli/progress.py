"""How far a long task is, and how long it still takes: a bar in a terminal, a line every few seconds in a log."""

import threading
import time
from types import TracebackType

from rich.console import Console

LINE_EVERY_S = 5.0


class Watch:
    """Shows the progress of `total` units of work, of any size that is proportional to time. Threads may share one."""

    def __init__(self, total: float, console: Console) -> None:
        # Here, for most who import this module say how long something is, and show no bar.
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console, self._total, self._done = console, max(total, 1e-9), 0.0
        self._timed_from: tuple[float, float] | None = None
        self._last_line = -LINE_EVERY_S
        self._lock = threading.Lock()
        self._stopped = False
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(20), TaskProgressColumn(), TimeRemainingColumn(),
            console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=self._total)

    def __enter__(self) -> "Watch":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """Whoever shares this watch ends at its next step."""
        self._stopped = True

    def advance(self, units: float, text: str, *, milestone: bool = False) -> None:
        """So much more is done; `text` says what. A milestone is written to a log at once.

        Raises:
            KeyboardInterrupt: after `stop`.
        """
        if self._stopped:
            raise KeyboardInterrupt
        with self._lock:
            self._done += units
            self._bar.update(self._task, advance=units, description=text)
            now = time.monotonic()
            if not self._console.is_terminal and (milestone or now - self._last_line >= LINE_EVERY_S):
                self._last_line = now
                # Nothing is done before it is done: 99.6 % is not 100.
                share = f"{int(100 * self._done / self._total + 1e-9)} %{self._remaining(now)}"
                self._console.print(f"{text}  ({share})", highlight=False)
            # The first unit carries the start-up (compiling the graphs), so time is counted from here.
            self._timed_from = self._timed_from or (now, self._done)

    def skip(self, units: float) -> None:
        """So much need not be done: a resumed run, or one that stopped early."""
        with self._lock:
            self._done += units
            if self._timed_from:
                self._timed_from = (self._timed_from[0], self._timed_from[1] + units)
            self._bar.update(self._task, advance=units)

    def _remaining(self, now: float) -> str:
        if self._timed_from is None or self._done <= self._timed_from[1]:
            return ""
        started, already = self._timed_from
        seconds = (now - started) * max(0.0, self._total - self._done) / (self._done - already)
        return f", about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 5 h, 3 days."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
