"""Replies are handed over as they come and not kept: the coordinator's memory is one vector, however many sites."""

import threading

import numpy as np

from benchmarks.secagg import server_peak_bytes
from common.messages.transport import Answer, InMemory, Reply, Request
from common.types import Tensors

ASKED = Request("train", 0)


def test_the_coordinators_memory_in_a_round_does_not_grow_with_the_number_of_sites() -> None:
    few, many = (server_peak_bytes(sites, 400_000) for sites in (4, 16))
    assert many < 1.1 * few


def test_no_more_sites_answer_ahead_than_there_are_workers() -> None:
    begun, lock = [0], threading.Lock()

    def answer(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        with lock:
            begun[0] += 1
        return Reply({}), state

    way = InMemory({f"{i:02d}": answer for i in range(12)}, workers=3)
    for taken, _ in enumerate(way.exchange(dict.fromkeys(way.sites(), ASKED), 1.0), start=1):
        assert begun[0] <= taken - 1 + 3
    assert taken == 12


def test_a_quick_sites_reply_does_not_wait_for_a_slow_one() -> None:
    seen = threading.Event()

    def site(name: str) -> Answer:
        def answer(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name == "a":
                assert seen.wait(60)
            return Reply({"n": np.ones(1)}), {"answered": np.ones(1)}

        return answer

    way = InMemory({name: site(name) for name in "abc"}, workers=2)
    order = []
    for name, _ in way.exchange(dict.fromkeys(way.sites(), ASKED), 1.0):
        order.append(name)
        if order == ["b", "c"]:
            seen.set()
    assert order == ["b", "c", "a"]
    assert all(way.states[name] for name in "abc")
