"""A run asks each question once, in its turn, and as it follows from the sums before it to the last digit (P2)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from client.training import hospital_site
from common.messages.transport import Request
from tests.attacks.honest import HonestBeginning, honest_beginning
from tests.attacks.hospitals import SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends
from tests.consortium.consortium import LEAST

FIVE = SIX[:5]
ENOUGH = {"least": LEAST | {"a_number": 1}}
Ask = Callable[[HonestBeginning], Request]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HonestBeginning]:
    """Three rounds of the SVM: statistics, second moments, a gradient, losses, a gradient; all pages were shown."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
        hospitals = Hospitals(tmp_path_factory.mktemp("turn"), dict.fromkeys(FIVE, (60, 10)), SVM, ENOUGH)
        yield honest_beginning(hospitals, hospitals.plan("likeness=false", tree=SVM), rounds=3)


def nudged(request: Request, name: str) -> Request:
    """One number a unit in the last place higher."""
    changed = request.tensors[name].copy()
    changed.flat[0] = np.nextafter(changed.flat[0], np.inf)
    return replace(request, tensors={**request.tensors, name: changed})


def following(begun: HonestBeginning) -> Request:
    return begun.coordinator.course.request(begun.place)


def earlier(kind: str) -> Ask:
    return lambda begun: next(request for request in begun.coordinator.asked if request.kind == kind)


def again_now(kind: str) -> Ask:
    return lambda begun: replace(earlier(kind)(begun), round=begun.place.round)


QUESTIONS: dict[str, tuple[Ask, str]] = {
    "second moments twice": (earlier("gram"), "replayed-number"),
    "second moments again, under the number of what comes next": (again_now("gram"), "model-does-not-follow"),
    "statistics after training": (earlier("statistics"), "replayed-number"),
    "an earlier gradient again": (earlier("gradient"), "replayed-number"),
    "an earlier gradient again, under a later number": (again_now("gradient"), "missing-transcript"),
    "earlier losses again": (earlier("loss"), "replayed-number"),
    "a gradient before the losses that choose its point": (
        lambda begun: replace(earlier("gradient")(begun), round=begun.place.round), "missing-transcript"),
    "a mean one unit in the last place higher": (
        lambda begun: nudged(following(begun), "recipe/mean"), "model-does-not-follow"),
    "a point one unit in the last place higher": (
        lambda begun: nudged(following(begun), "weights/alpha"), "model-does-not-follow"),
    "an evaluation in the place of losses": (
        lambda begun: replace(earlier("gradient")(begun), kind="evaluate", round=begun.place.round),
        "missing-transcript"),
}  # fmt: skip


@pytest.mark.parametrize("what", QUESTIONS)
def test_another_question_than_the_next_is_refused(begun: HonestBeginning, what: str, ends: Ends) -> None:
    coordinator = begun.coordinator
    assert following(begun).kind == "loss"
    coordinator.refused.clear()
    ask, code = QUESTIONS[what]
    before = {path: content for path, content in coordinator.remembered().items() if path.endswith("ledger")}
    loot = coordinator.attempt(lambda: coordinator.sum((), ask(begun)))
    ends(f"{what}", coordinator, {code: FIVE}, loot)
    after = {path: content for path, content in coordinator.remembered().items() if path.endswith("ledger")}
    assert after == before


def test_a_sum_that_the_coordinator_says_it_has_not_got_is_not_made_again(begun: HonestBeginning, ends: Ends) -> None:
    """Another history than the sites know: they derive other masks, so no round opens with theirs."""
    coordinator = begun.coordinator
    coordinator.refused.clear()
    known, coordinator.lineage = coordinator.lineage, bytes(32)
    loot = coordinator.attempt(lambda: coordinator.sum((), following(begun)))
    coordinator.lineage = known
    ends("what comes next, after another history", coordinator, {"split-model": FIVE}, loot)


@pytest.mark.usefixtures("many_hospitals")
def test_a_question_that_came_to_nothing_before_any_share_may_be_asked_again(tmp_path: Path) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (60, 10)), SVM, ENOUGH)
    coordinator = HostileCoordinator(hospitals, hospitals.approved())
    statistics = coordinator.course.request(coordinator.course.start())
    coordinator.unheard = frozenset(FIVE[:2])
    assert coordinator.attempt(lambda: coordinator.sum((), statistics)) is None
    coordinator.unheard = frozenset()
    assert coordinator.attempt(lambda: coordinator.sum((), statistics)) is not None
    assert not coordinator.codes()
