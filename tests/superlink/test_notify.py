"""Signals between processes: who waits for one of many is woken by it, soon, and by no other."""

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from server.superlink.notify import QUIET_LOOK_S, Signal, SignalWatch

LONG_S = 20.0


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: the browser of other tests keeps a loop running in this one."""
    with ThreadPoolExecutor() as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def woken(folder: Path, names: list[str], send: str) -> set[str]:
    """Who of those that wait is woken by one signal."""
    watch, found = SignalWatch(folder), set[str]()

    async def wait(name: str) -> None:
        await watch.wait(name, Signal(folder / name).count(), LONG_S)
        found.add(name)

    waiting = [asyncio.create_task(wait(name)) for name in names]
    await asyncio.sleep(2 * QUIET_LOOK_S)
    Signal(folder / send).send()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return found


def test_one_of_a_hundred_is_woken(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    assert run(woken(tmp_path, [f"site-{i}" for i in range(100)], "site-7")) == {"site-7"}
    assert time.monotonic() - begun_s < LONG_S


def test_a_signal_that_came_before_anybody_waited_is_not_lost(tmp_path: Path) -> None:
    signal, begun_s = Signal(tmp_path / "site"), time.monotonic()
    before = signal.count()
    signal.send()
    run(SignalWatch(tmp_path).wait("site", before, LONG_S))
    assert time.monotonic() - begun_s < LONG_S


def test_who_waits_in_vain_waits_no_longer_than_it_said(tmp_path: Path) -> None:
    run(SignalWatch(tmp_path / "none").wait("site", 0, 0.05))
