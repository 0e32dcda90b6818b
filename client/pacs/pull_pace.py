"""How fast an archive is asked: so many studies a minute at most, and in these hours alone."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from common.errors import ConfigError

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now().astimezone()


@dataclass
class PullPace:
    """Between two studies it says how long to wait.

    Args:
        per_minute: studies; 0: as fast as the archive gives them.
        hours: begin and end in this machine's time, 0 to 23; None: always. (20, 6) is the night.
    """

    per_minute: float = 0.0
    hours: tuple[int, int] | None = None
    clock: Clock = _now

    def __post_init__(self) -> None:
        self._next_s = 0.0

    def pause_s(self) -> float:
        """Seconds to wait before the next study, which counts as begun then."""
        pause = max(0.0, self._next_s - time.monotonic())
        if self.hours:
            pause = max(pause, self._closed_s(*self.hours))
        if self.per_minute:
            self._next_s = time.monotonic() + pause + 60.0 / self.per_minute
        return pause

    def _closed_s(self, begin: int, end: int) -> float:
        now = self.clock()
        is_open = begin <= now.hour < end if begin < end else now.hour >= begin or now.hour < end
        if is_open:
            return 0.0
        opening = now.replace(hour=begin, minute=0, second=0, microsecond=0)
        opening += timedelta(days=1) * (opening <= now)
        return (opening - now).total_seconds()


def parse_hours(text: str) -> tuple[int, int] | None:
    """Hours as they are typed, `20-06`; None where nothing is.

    Raises:
        ConfigError: they are none.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text)
    begin, end = (int(match[1]), int(match[2]) % 24) if match else (0, 0)
    if match is None or begin > 23 or int(match[2]) > 24 or begin == end:
        raise ConfigError(f"--hours {text}: expected two hours of the day like 20-06.")
    return begin, end
