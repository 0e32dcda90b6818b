"""Processes that take files in, so that a file which breaks its decoder breaks no more than that."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from client.custody.dataset_writer import SealedObject
from client.custody.intake import AlreadyStored, Intake
from client.memory_guard import shut_memory
from client.sources.case_row import CaseRow
from common.errors import ImageError

IntakeResult = SealedObject | AlreadyStored | ImageError
AHEAD = 4
"""Files for each process that are under way or wait to be written."""


def take_all(
    desk: Intake,
    rows: Iterable[CaseRow | None],
    processes: int,
    already: Callable[[CaseRow], AlreadyStored | ImageError | None] = lambda row: None,
) -> Iterator[tuple[CaseRow, IntakeResult]]:
    """Rows and what became of them, in their order; with no process this one takes them in.

    Args:
        rows: asked for one by one, as there is room. None among them: none comes for a while, and what is under way is
            finished first.
        already: what is known of a row without a look at its content: that it is in, or cannot be had.
    """
    if not processes:
        yield from ((row, already(row) or desk.take(row)) for row in rows if row)
        return
    incoming, unfinished, is_over = iter(rows), list[CaseRow](), False
    while not is_over:
        ahead: deque[tuple[CaseRow, Future[IntakeResult]]] = deque()
        with _pool(processes) as pool:
            try:
                for row in incoming:
                    if row:
                        ahead.append((row, _submit(pool, desk, row, already(row))))
                    while ahead and (row is None or len(ahead) >= AHEAD * processes):
                        yield ahead[0][0], ahead[0][1].result()
                        ahead.popleft()
                while ahead:
                    yield ahead[0][0], ahead[0][1].result()
                    ahead.popleft()
                is_over = True
            except BrokenProcessPool:
                unfinished = [row for row, _ in ahead]
        if not is_over:  # one of these broke its process: each alone, so that it can be named
            yield from ((row, _alone(desk, row)) for row in unfinished)


def _submit(
    pool: ProcessPoolExecutor, desk: Intake, row: CaseRow, result: AlreadyStored | ImageError | None
) -> Future[IntakeResult]:  # fmt: skip
    if result is None:
        try:
            return pool.submit(desk.take, row)
        except BrokenProcessPool as error:
            failure: Future[IntakeResult] = Future()
            failure.set_exception(error)
            return failure
    ready: Future[IntakeResult] = Future()
    ready.set_result(result)
    return ready


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
    shut_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
