"""Signals between processes: who waits for one of many is woken by it, soon, and by no other."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.superlink import notify
from server.superlink.notify import LOOK_S, FolderWatch, Listener, Signal, SignalWatch

LONG_S = 20.0


@pytest.fixture(autouse=True, params=["woken by the kernel", "looking"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "looking":
        monkeypatch.setattr(notify, "_watch", lambda folder: None)


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
    await asyncio.sleep(2 * LOOK_S)
    Signal(folder / send).send()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    watch.close()
    return found


async def wait_once(folder: Path, name: str, count: int, seconds: float) -> None:
    watch = SignalWatch(folder)
    await watch.wait(name, count, seconds)
    watch.close()


def test_one_of_a_hundred_is_woken(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    assert run(woken(tmp_path, [f"site-{i}" for i in range(100)], "site-7")) == {"site-7"}
    assert time.monotonic() - begun_s < LONG_S


def test_a_signal_that_came_before_anybody_waited_is_not_lost(tmp_path: Path) -> None:
    signal, begun_s = Signal(tmp_path / "site"), time.monotonic()
    before = signal.count()
    signal.send()
    run(wait_once(tmp_path, "site", before, LONG_S))
    listener = Listener(tmp_path, ("site", "other"))
    listener.wait(before, LONG_S)
    assert listener.count() == before + 1
    listener.close()
    assert time.monotonic() - begun_s < LONG_S


def test_who_waits_in_vain_waits_no_longer_than_it_said(tmp_path: Path) -> None:
    run(wait_once(tmp_path / "none", "site", 0, 0.05))
    listener = Listener(tmp_path / "none", ["site"])
    listener.wait(0, 0.05)
    listener.close()


def test_a_thread_is_woken_by_its_own_signal_and_by_no_other(tmp_path: Path) -> None:
    listener, begun_s = Listener(tmp_path, ("one", "two")), time.monotonic()
    thread = threading.Thread(target=listener.wait, args=(0, LONG_S))
    thread.start()
    for _ in range(3):
        Signal(tmp_path / "three").send()
    thread.join(2 * LOOK_S)
    assert thread.is_alive()
    Signal(tmp_path / "two").send()
    thread.join(LONG_S)
    listener.close()
    assert time.monotonic() - begun_s < LONG_S


def test_what_grew_is_named_once(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path)
    for name in ("one", "a longer name, with blanks", "one"):
        Signal(tmp_path / name).send()
    names = {"one", "a longer name, with blanks"}
    assert watch.names() == (set() if watch.descriptor is None else names)
    assert watch.names() == set()
    watch.close()
