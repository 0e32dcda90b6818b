"""A site's resident process that has worked begins anew when no run is left, and never in the middle of anything."""

import os
from pathlib import Path

import pytest

from client import service
from client.connection.retry import ConnectionStatus
from client.plans import sync
from client.service import ResidentProcess
from tests.consortium.consortium import Consortium


@pytest.fixture
def resident(tmp_path: Path) -> ResidentProcess:
    """One that has answered something, a while ago."""
    process = ResidentProcess(Consortium(tmp_path).sites["Lisbon"])
    process._note_status(ConnectionStatus("working"))
    process._note_status(ConnectionStatus("idle"))
    return process


@pytest.fixture
def beginnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every time that a process would be replaced; what runs here is the tests'."""
    seen: list[str] = []
    monkeypatch.setattr(service, "start_again", lambda: seen.append("anew"))
    monkeypatch.setattr(os, "isatty", lambda handle: False)
    return seen


def test_one_that_rests_after_work_begins_anew(resident: ResidentProcess, beginnings: list[str]) -> None:
    resident._begin_anew_at_rest()
    assert beginnings == ["anew"]


def test_one_that_has_done_nothing_stays(resident: ResidentProcess, beginnings: list[str]) -> None:
    fresh = ResidentProcess(resident.home)
    fresh._note_status(ConnectionStatus("idle"))
    fresh._begin_anew_at_rest()
    assert not beginnings


@pytest.mark.parametrize("what", ["a message of a run", "a run", "images", "a command", "a terminal"])
def test_one_that_has_something_to_do_or_to_lose_stays(
    resident: ResidentProcess, beginnings: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "a message of a run":
        resident._note_status(ConnectionStatus("waiting"))
    elif what == "a run":
        resident._ready["digest"] = 1
    elif what == "images":
        resident._note(sync.ImageState("plan"))
    elif what == "a command":
        resident._door._callers[os.geteuid()] += 1
    else:
        monkeypatch.setattr(os, "isatty", lambda handle: True)
    resident._begin_anew_at_rest()
    assert not beginnings
