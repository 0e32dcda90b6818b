"""Keeps the coordinator's processes alive: starts them in order, restarts what died, leaves nothing behind.

Linux ends the children when this process ends, even by SIGKILL. All that they start (Flower's SuperExec: ServerApps)
inherits a mark in its environment: what is left running nevertheless, the next start finds by it and ends.

One thread and no locks: a `Supervisor` belongs to the thread that starts it, which must live as long as the children.
"""

import logging
import math
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from common.errors import RunError
from common.storage import file_lock
from server.processes import process_table
from server.processes.output_log import OutputLog
from server.processes.process_table import ProcessState

log = logging.getLogger("consilium")

READY_S = 120.0
"""How long a child may take until it is ready: importing Flower takes seconds, and on a busy machine many."""
TRIES = 3
"""A child that dies so often before it was ready will not become so."""
STEADY_S = 60.0
"""A child that was up for so long begins with a clean slate."""
LONGEST_DELAY_S = 10.0
GRACE_S = 5.0

# The kernel's promise belongs to the process itself, so it is asked for between fork and exec, in a Python of its own:
# code that runs in a fork of this process could meet a lock that nobody releases.
_LAUNCH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):
    sys.exit("the supervisor has ended")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class ManagedProcess:
    """A process to be kept alive."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """On top of this process's own."""
    ready: Callable[[], bool] | None = None
    """Asked ten times a second at the start, before the next child is started; must return soon."""


class Supervisor:
    """Keeps children alive. Its folder holds their output (NAME.log), `processes.json` and a lock."""

    def __init__(self, children: Sequence[ManagedProcess], folder: Path) -> None:
        self._folder = folder.absolute()
        self._records = [_ProcessRecord(child, OutputLog(self._folder / f"{child.name}.log")) for child in children]
        self._outputs = selectors.DefaultSelector()
        self._lock: IO[str] | None = None

    def run(self, stop: threading.Event) -> None:
        """Start, keep alive until the event is set, stop.

        Raises:
            RunError: see `start`.
        """
        self.start(stop)
        try:
            while not stop.is_set():
                self.turn(0.2)
        finally:
            self.stop()

    def start(self, stop: threading.Event | None = None) -> None:
        """End what an earlier supervisor left running; start the children, each when the one before is ready.

        Args:
            stop: where it is set, no more of them are waited for.

        Raises:
            RunError: if another supervisor is at work in this folder, or a child does not become ready.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self._folder / "lock").open("a", encoding="utf-8")
        if not file_lock.take(self._lock):
            self._lock.close()
            raise RunError(f"{self._folder}: the processes are running already. Stop them first.")
        try:
            self._end_what_is_left()
            for record in self._records:
                self._launch(record)
                self._await(record, stop or threading.Event())
        except BaseException:
            self.stop()
            raise

    def turn(self, wait_s: float) -> None:
        """Write out what the children say for up to so long, and start again what has died."""
        self._write_out(wait_s)
        for record in self._records:
            if record.process is not None and record.process.poll() is not None:
                record.note_death(record.process)
                self._note()
            if record.process is None and time.monotonic() >= record.due_s:
                record.restarts += 1
                self._launch(record)

    def stop(self) -> None:
        """End all children and what they have started, the last first: asked, and after five seconds killed."""
        for record in reversed(self._records):
            if record.process is not None:
                self._end(record.process)
            record.process = None
        self._end_what_is_left()
        self._write_out(0)
        for key in list(self._outputs.get_map().values()):
            self._close(key.fd)
        self._note()
        for record in self._records:
            with suppress(OSError):  # the rest does not fit on a full disk
                record.log.close()
        if self._lock is not None:
            self._lock.close()

    def _launch(self, record: "_ProcessRecord") -> None:
        theirs = os.pipe()
        record.process = subprocess.Popen(  # noqa: S603 the commands are our own
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *record.child.command],
            env={**os.environ, **record.child.env, process_table.MARK: str(self._folder)},
            stdin=subprocess.DEVNULL,
            stdout=theirs[1],
            stderr=theirs[1],
            start_new_session=True,  # an interrupt at the terminal is for the supervisor, which stops them in order
        )
        os.close(theirs[1])
        os.set_blocking(theirs[0], False)
        self._outputs.register(theirs[0], selectors.EVENT_READ, record.log)
        record.since_s = psutil.Process(record.process.pid).create_time()
        self._note()

    def _await(self, record: "_ProcessRecord", stop: threading.Event) -> None:
        deadline = time.monotonic() + READY_S
        ready = record.child.ready
        while ready is not None and not stop.is_set() and not (record.process is not None and ready()):
            self.turn(0.1)
            if record.restarts >= TRIES or time.monotonic() > deadline:
                why = f"ended {record.restarts} times" if record.restarts >= TRIES else f"not ready in {READY_S:.0f} s"
                raise RunError(f"{record.child.name}: {why}. What it says is in {self._folder / record.child.name}.log")

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        with suppress(psutil.NoSuchProcess):
            leader = psutil.Process(process.pid)
            family, deadline = [leader, *leader.children(recursive=True)], time.monotonic() + GRACE_S
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.terminate()
            while any(map(process_table.runs, family)) and time.monotonic() < deadline:
                self._write_out(0.05)
        if process.poll() is None:
            process.kill()
        process.wait()

    def _end_what_is_left(self) -> None:
        leftovers, deadline = process_table.left_running(self._folder), time.monotonic() + GRACE_S
        for process in leftovers:
            log.warning("pid %d: left running; killed.", process.pid)
            with suppress(psutil.NoSuchProcess):
                process.kill()
        while any(map(process_table.runs, leftovers)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _write_out(self, wait_s: float) -> None:
        for key, _ in self._outputs.select(wait_s):
            with suppress(BlockingIOError):
                for _ in range(16):  # then it is the others' turn
                    if not (chunk := os.read(key.fd, 65536)):
                        self._close(key.fd)
                        break
                    key.data.take(chunk)

    def _close(self, output: int) -> None:
        self._outputs.unregister(output)
        os.close(output)

    def _note(self) -> None:
        # A full disk must not end what keeps the others alive.
        with suppress(OSError):
            process_table.note(self._folder, [record.state() for record in self._records])


@dataclass
class _ProcessRecord:
    """A child, and what happened to it."""

    child: ManagedProcess
    log: OutputLog
    process: "subprocess.Popen[bytes] | None" = None
    since_s: float = 0.0
    restarts: int = 0
    deaths: int = 0
    """Of late: in a row, without a steady time between."""
    due_s: float = math.inf
    """When to start it again, by the monotonic clock."""

    def note_death(self, process: "subprocess.Popen[bytes]") -> None:
        up_s = time.time() - self.since_s
        self.deaths = 1 if up_s > STEADY_S else self.deaths + 1
        delay_s = min(0.5 * 2 ** (self.deaths - 2), LONGEST_DELAY_S) if self.deaths > 1 else 0.0
        when = f"in {delay_s:g} s" if delay_s else "at once"
        what = f"{self.child.name} (pid {process.pid})"
        log.warning("%s ended with status %s after %.0f s; starts again %s.", what, process.returncode, up_s, when)
        self.process, self.due_s = None, time.monotonic() + delay_s

    def state(self) -> ProcessState:
        if self.process is None:
            return ProcessState(self.child.name, restarts=self.restarts)
        return ProcessState(self.child.name, self.process.pid, self.since_s, self.restarts)
