"""Processes that take files in, so that a file which breaks its decoder breaks no more than that."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from client.custody.dataset_writer import SealedObject
from client.custody.intake import AlreadyStored, Intake
from client.sources.case_row import CaseRow
from common.errors import ImageError

IntakeResult = SealedObject | AlreadyStored | ImageError
AHEAD = 4
"""Files for each process that are under way or wait to be written."""


def take_all(desk: Intake, rows: Sequence[CaseRow], processes: int) -> Iterator[tuple[CaseRow, IntakeResult]]:
    """Rows and what became of them, in their order; with no process this one takes them in."""
    if not processes:
        yield from ((row, desk.take(row)) for row in rows)
        return
    waiting = deque(rows)
    while waiting:
        with _pool(processes) as pool:
            ahead: deque[tuple[CaseRow, Future[IntakeResult]]] = deque()
            try:
                while waiting or ahead:
                    while waiting and len(ahead) < AHEAD * processes:
                        ahead.append((waiting[0], pool.submit(desk.take, waiting[0])))
                        waiting.popleft()
                    row, future = ahead[0]
                    result = future.result()
                    ahead.popleft()
                    yield row, result
            except BrokenProcessPool:
                unfinished = [row for row, _ in ahead]
        if ahead:  # one of these broke its process: each alone, so that it can be named
            yield from ((row, _alone(desk, row)) for row in unfinished)


def _alone(desk: Intake, row: CaseRow) -> IntakeResult:
    with _pool(1) as pool:
        try:
            return pool.submit(desk.take, row).result()
        except BrokenProcessPool:
            return ImageError(f"{row.origin}: breaks its decoder, or needs more memory than there is. Leave it out.")


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the process that writes, and end with it: keys must not stay in memory that nobody watches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
