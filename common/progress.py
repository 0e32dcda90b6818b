"""How far a long task is, and how long it still takes: a bar in a terminal, a line every few seconds in a log."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0


class Watch:
    """Shows the progress of `total` units of work, of any size that is proportional to time."""

    def __init__(self, total: float, console: Console) -> None:
        self._console, self._total, self._done = console, max(total, 1e-9), 0.0
        self._skipped = 0.0
        self._started = time.monotonic()
        self._last_line = -LINE_EVERY_S
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), TimeRemainingColumn(),
            console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=self._total)

    def __enter__(self) -> "Watch":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, units: float, text: str) -> None:
        """So much more is done; `text` says what."""
        self._done += units
        self._bar.update(self._task, advance=units, description=text)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._console.print(f"{text}  ({100 * self._done / self._total:.0f} %, {self._left(now)})", highlight=False)

    def skip(self, units: float) -> None:
        """So much was already done before this start (a resumed run)."""
        self._skipped += units
        self._done += units
        self._bar.update(self._task, advance=units)

    def _left(self, now: float) -> str:
        worked = self._done - self._skipped
        seconds = (now - self._started) * (self._total - self._done) / worked if worked > 0 else 0.0
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"
