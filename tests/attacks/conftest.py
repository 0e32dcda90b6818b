"""Counts attacks tried and refused."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from common.errors import ConsiliumError
from common.secagg.coordinator import CoordinatorMachine
from common.secagg.sketch import LimbSum
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


def snapshot(machine: CoordinatorMachine) -> dict[str, object]:
    """All that a coordinator's machine holds, comparable."""
    held = {k: (v.low.tobytes(), v.carry.tobytes()) if isinstance(v, LimbSum) else v for k, v in vars(machine).items()}
    return copy.copy({k: copy.copy(v) if isinstance(v, dict | set) else v for k, v in held.items()})
