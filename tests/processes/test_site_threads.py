"""The threads of a hospital's resident process outlive a defect."""

import logging
from pathlib import Path

import pytest

from client import service
from client.service import ResidentProcess
from tests.admitted import home_of
from tests.consortium.consortium import Consortium


def test_a_thread_goes_on_after_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "LONGEST_PAUSE_S", 0.01)
    process, tries = ResidentProcess(home_of(Consortium(tmp_path).sites["Lisbon"].folder)), list[int]()

    def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RecursionError("of lists in lists")
        process.stop.set()

    with caplog.at_level(logging.ERROR, "consilium"):
        process._keep_up(work)
    assert len(tries) == 3
    assert [record.getMessage() for record in caplog.records] == ["a defect of this release; going on in 0 s"] * 2
