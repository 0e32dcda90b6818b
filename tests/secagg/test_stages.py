"""The order of the protocol is one table, which the page shows and the machines follow."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import StageError
from common.secagg.participant import Participant
from common.secagg.stages import COORDINATOR, SITE, CoordinatorStage, ParticipantStage, after
from common.secagg.state import ParticipantState
from tests.secagg.world import QUESTION, World, forget, identity

ROOT = Path(__file__).parents[2]
STEPS = {"join": (b"", b"", 0), "share": (b"",), "take": (b"",), "open": (b"", QUESTION, 0), "submit": (b"",)}
STEPS |= {"agree": (b"", b""), "release": (b"",)}


def test_the_page_shows_the_tables() -> None:
    done = subprocess.run(
        [sys.executable, "docs/diagrams.py", "--check"], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", list(ParticipantStage))
@pytest.mark.parametrize("step", STEPS)
def test_a_site_takes_no_step_that_its_table_does_not_have(stage: ParticipantStage, step: str) -> None:
    site = Participant("a", identity("a"), World.of(3).pins, ParticipantState(stage))
    if (stage, step) not in SITE:
        with pytest.raises(StageError, match=f"'{step}' while {stage.value}: expected .*Nothing was changed"):
            getattr(site, step)(*STEPS[step])


def test_every_step_leads_where_the_table_says() -> None:
    world = World.of(3)
    seen = [world.sites["site-000"].state.stage]

    def send(name: str, step: object) -> bytes:
        world.sites[name], message = step(world.sites[name]).commit(forget)  # type: ignore[operator]
        if name == "site-000":
            seen.append(world.sites[name].state.stage)
        return bytes(message)

    world.send = send  # type: ignore[method-assign, assignment]
    world.open_key_period()
    world.round(world.vectors())
    assert seen == [
        ParticipantStage.IDLE,
        ParticipantStage.ADVERTISED,
        ParticipantStage.SHARED,
        ParticipantStage.READY,
        ParticipantStage.ANSWERED,
        ParticipantStage.AGREED,
        ParticipantStage.READY,
    ]


def test_all_stages_can_be_reached_and_only_the_ends_are_ends() -> None:
    assert set(SITE.values()) | {ParticipantStage.IDLE} == set(ParticipantStage)
    begun = {CoordinatorStage.ADVERTS, CoordinatorStage.MASKED}
    assert set(COORDINATOR.values()) | begun == set(CoordinatorStage)
    ends = set(CoordinatorStage) - {stage for stage, _ in COORDINATOR}
    assert ends == {CoordinatorStage.KEY_PERIOD, CoordinatorStage.DONE, CoordinatorStage.FAILED}
    with pytest.raises(StageError, match="expected nothing"):
        after(COORDINATOR, CoordinatorStage.DONE, "close")


def test_a_restarted_site_goes_on_from_every_stage() -> None:
    world = World.of(4, rounds=2)
    recorded: list[ParticipantState] = []

    def send(name: str, step: object) -> bytes:
        site, message = step(world.sites[name]).commit(recorded.append)  # type: ignore[operator]
        state = ParticipantState.decode(recorded[-1].encode())
        assert state == recorded[-1]
        world.sites[name] = Participant.restore(name, site.identity, site.pins, state)
        return bytes(message)

    world.send = send  # type: ignore[method-assign, assignment]
    world.open_key_period()
    for slot in range(2):
        vectors = world.vectors(seed=slot)
        total = world.round(vectors, slot=slot, question=bytes([slot]) * 32)
        right = sum(v.astype(object) for v in vectors.values()) % 2**32
        assert [int(w) for w in total.words] == list(right)


def test_secrets_leave_the_state_with_their_last_use() -> None:
    world = World.of(3, rounds=3)
    world.open_key_period()
    before = world.sites["site-000"].state.secrets
    assert before.dealer == b""
    assert before.own_shares == {}
    world.round(world.vectors(), slot=1)
    after_round = world.sites["site-000"].state.secrets
    assert set(after_round.rounds) == set(after_round.held_shares) == {2}
    for secret in (before.rounds[1], before.held_shares[1], before.rounds[0]):
        assert secret not in world.sites["site-000"].state.encode()
