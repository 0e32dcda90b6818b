"""Work on several cores: AES, NumPy's additions, BLAKE3 and checks of signatures all let go of the interpreter."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

CORES = min(4, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    # Kept: to start threads takes as long as masking a small vector.
    return ThreadPoolExecutor(max(1, CORES - 1), "secagg")


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork


def run_on_cores(items: Sequence[Item], begin: Callable[[], Callable[[Item], Result]]) -> list[Result]:
    """What every item gives, in their order; each core, the caller's among them, takes the next one when it is free.

    Args:
        begin: called once by each core; gives what the core does with an item.

    Raises:
        Exception: what that raised.
    """
    results: dict[int, Result] = {}
    numbers = iter(range(len(items)))  # one for all cores: to take the next number is one step of the interpreter

    def core() -> None:
        work = begin()
        for i in numbers:
            results[i] = work(items[i])

    others = [_threads().submit(core) for _ in range(min(CORES, len(items)) - 1)]
    try:
        core()
    finally:
        running = [other for other in others if not other.cancel()]
        wait(running)  # what they work on may be the caller's own memory
    for other in running:
        other.result()
    return [results[i] for i in range(len(items))]
