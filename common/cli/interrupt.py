"""Ctrl-C, at whatever moment, ends a program with exit status 130 and one line, never with a traceback.

A program has three times. While it is imported, which takes seconds, nothing is begun, and Ctrl-C ends the process at
once. While its command runs, Ctrl-C raises KeyboardInterrupt; what keeps processes or connections lets them come to an
end first (`in_order`). When the exit status is known, Ctrl-C ends what is left of the process with that status.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

STATUS = 130
"""Of a command that was interrupted."""
AGAIN_S = 0.05
_status: list[int] = []  # of the command, once it is known


def arm() -> None:
    """From now on, until the command runs; to be called before anything else is imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        atexit.register(_last)  # the first to be registered is the last to be called
        signal.signal(signal.SIGINT, _nothing_begun)
        sys.unraisablehook = _raised_again


def program(main: Callable[[], int]) -> NoReturn:
    """Run a command line, and exit with its status."""
    try:
        _exit(status := main())
        _status.append(status)
    except KeyboardInterrupt:  # once more, or after the command
        os._exit(STATUS)
    sys.exit(status)


def raising(run: Callable[[], int]) -> int:
    """Run a command, in which Ctrl-C raises KeyboardInterrupt.

    Raises:
        KeyboardInterrupt: also where the interrupt became another error, as in the middle of an import.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before not in (_nothing_begun, signal.default_int_handler) or not _in_main_thread():
        return run()
    try:
        signal.signal(signal.SIGINT, interrupt)
        return run()
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


@dataclass
class Signals:
    """The signals that came while something ran, and the exit status that they mean."""

    numbers: list[int] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status of a command that they ended."""
        return STATUS if signal.SIGINT in self.numbers else 0


@contextmanager
def in_order(stop: Callable[[], object]) -> Iterator[Signals]:
    """Ctrl-C and SIGTERM call `stop`, and what runs here comes to its end."""
    came = Signals()

    def end(number: int, frame: FrameType | None) -> None:
        came.numbers.append(number)
        stop()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing_begun(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\ninterrupted; nothing was begun.\n")
    os._exit(STATUS)


def _last() -> None:
    """Python ends by the signal itself if an interrupt passed through text that it executed, as dataclasses and named
    tuples do while they are imported, though it was caught: the status would be -2."""
    if STATUS in _status:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(STATUS)


def _exit(status: int) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(status))


def _raised_again(problem: "sys.UnraisableHookArgs") -> None:
    """An interrupt that came while Python ran a destructor would be dropped there: it is given once more."""
    if problem.exc_type is KeyboardInterrupt:
        threading.Timer(AGAIN_S, signal.raise_signal, (signal.SIGINT,)).start()
    else:
        sys.__unraisablehook__(problem)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
