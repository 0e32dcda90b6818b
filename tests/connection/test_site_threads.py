"""The threads of a hospital's resident process outlive a defect."""

import logging
import threading

import pytest

from client.connection import retry


def test_a_thread_goes_on_after_a_defect(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(retry, "LONGEST_PAUSE_S", 0.01)
    stop, tries = threading.Event(), list[int]()

    def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RecursionError("of lists in lists")

    with caplog.at_level(logging.ERROR, "consilium"):
        retry.keep_up(work, stop)
    assert len(tries) == 3
    assert [record.getMessage() for record in caplog.records] == ["a defect of this release; going on in 0 s"] * 2
