"""Counts attacks tried and refused."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import pytest

from client.training import hospital_site
from common.errors import ConsiliumError
from common.secagg.coordinator import CoordinatorMachine
from common.secagg.sketch import LimbSum
from tests.attacks.hostile import HostileCoordinator
from tests.tally import EVENTS, TRIED

Attack = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def attack() -> Attack:
    """`with attack("what is tried", "the cause it is refused for"):` and what is tried in the block."""

    @contextmanager
    def trying(what: str, cause: str, *unchanged: CoordinatorMachine) -> Iterator[None]:
        TRIED["attacks tried"] += 1
        before = [snapshot(machine) for machine in unchanged]
        with pytest.raises(ConsiliumError) as caught:
            yield
        event = getattr(caught.value, "cause", type(caught.value).__name__)
        assert event == cause, f"{what}: refused for {event} ({caught.value}), expected {cause}"
        assert len(str(caught.value)) > 30
        assert [snapshot(machine) for machine in unchanged] == before, f"{what}: refused, but it changed something"
        TRIED["attacks refused"] += 1
        EVENTS["attacks"].append(f"{what} → {event}")

    return trying


@pytest.fixture
def show() -> Callable[[str], None]:
    """Has a line printed at the end: what an attack got out, or what it ended in."""
    return EVENTS["attacks"].append


@pytest.fixture
def ends() -> Callable[..., None]:
    """`ends("what was tried", coordinator, {"other-cohort": sites}, loot)`: each site's first refusal was this one, and
    nothing came out."""

    def check(what: str, coordinator: HostileCoordinator, expected: dict[str, Iterable[str]], loot: object) -> None:
        TRIED["attacks tried"] += 1
        codes = {site: code for code, sites in expected.items() for site in sites}
        assert coordinator.codes() == codes, what
        assert not loot, f"{what}: it got {loot}"
        TRIED["attacks refused"] += 1
        EVENTS["attacks"].append(f"{what} → {', '.join(f'{code} at {len([*at])}' for code, at in expected.items())}")

    return check


@pytest.fixture
def many_hospitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all of them share a process; in life each has one, which keeps one plan's images."""
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))


def snapshot(machine: CoordinatorMachine) -> dict[str, object]:
    """All that a coordinator's machine holds, comparable."""
    held = {k: (v.low.tobytes(), v.carry.tobytes()) if isinstance(v, LimbSum) else v for k, v in vars(machine).items()}
    return copy.copy({k: copy.copy(v) if isinstance(v, dict | set) else v for k, v in held.items()})
