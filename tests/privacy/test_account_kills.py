"""Whatever is killed, and when: the account on the disk says all that has left."""

import random
from pathlib import Path

import pytest

from tests.privacy.account_kills import KINDS, Hospital, episode


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_leaves_an_account_that_says_all_that_has_left(kind: str, tmp_path: Path) -> None:
    hospital, kills, tries = Hospital(tmp_path / "lisbon", random.Random(kind)), 0, 0
    hospital.killed(lambda sink: hospital.answer("training", sink, many=3), after_s=None)
    while kills < 3:
        assert (tries := tries + 1) < 30, "nothing is ever killed"
        kills += episode(hospital, kind)
        assert not hospital.is_smaller()
    hospital.try_over_budget()
    assert hospital.refusals == hospital.over_budget == 2


def test_an_account_that_is_smaller_is_seen_to_be(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path / "lisbon", random.Random(1))
    hospital.killed(lambda sink: hospital.answer("training", sink, many=5), after_s=None)
    assert hospital.outside.left["training"] > 1
    assert not hospital.is_smaller()
    hospital.outside.left["training"] += 2
    assert hospital.is_smaller()
