"""The order of the protocol: every transition there is, for the site and for the coordinator. All others are refused.

`docs/secure-aggregation.md` draws its diagrams from these tables.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from common.errors import StageError


class ParticipantStage(Enum):
    """How far a participant is in the protocol."""

    IDLE = "idle"
    ADVERTISED = "advertised"
    SHARED = "shared"
    READY = "ready"
    OPEN = "open"
    ANSWERED = "answered"
    AGREED = "agreed"


class CoordinatorStage(Enum):
    """Where the coordinator stands, within a key period's beginning or a round."""

    ADVERTS = "adverts"
    SHARES = "shares"
    READIES = "readies"
    KEY_PERIOD = "key_period"
    MASKED = "masked"
    AGREEMENTS = "agreements"
    RELEASES = "releases"
    DONE = "done"
    FAILED = "failed"


S, G = ParticipantStage, CoordinatorStage

SITE: Mapping[tuple[ParticipantStage, str], ParticipantStage] = {
    # A new key period may begin at any time; the old keys are erased.
    **{(stage, "join"): S.ADVERTISED for stage in ParticipantStage},
    (S.ADVERTISED, "share"): S.SHARED,
    (S.SHARED, "take"): S.READY,
    # From OPEN, ANSWERED or AGREED it is a later round: the one before came to nothing, and is never answered again.
    **{(stage, "open"): S.OPEN for stage in (S.READY, S.OPEN, S.ANSWERED, S.AGREED)},
    (S.OPEN, "submit"): S.ANSWERED,
    (S.ANSWERED, "agree"): S.AGREED,
    (S.AGREED, "release"): S.READY,
}
"""What a site does, and where it stands afterwards."""

COORDINATOR: Mapping[tuple[CoordinatorStage, str], CoordinatorStage] = {
    (G.ADVERTS, "advert"): G.ADVERTS,
    (G.ADVERTS, "close"): G.SHARES,
    (G.SHARES, "shares"): G.SHARES,
    (G.SHARES, "close"): G.READIES,
    (G.READIES, "ready"): G.READIES,
    (G.READIES, "close"): G.KEY_PERIOD,
    (G.MASKED, "masked"): G.MASKED,
    (G.MASKED, "close"): G.AGREEMENTS,
    (G.AGREEMENTS, "agreement"): G.AGREEMENTS,
    (G.AGREEMENTS, "close"): G.RELEASES,
    (G.RELEASES, "release"): G.RELEASES,
    (G.RELEASES, "close"): G.DONE,
    **{(s, "fail"): G.FAILED for s in (G.ADVERTS, G.SHARES, G.READIES, G.MASKED, G.AGREEMENTS, G.RELEASES)},
}
"""What the coordinator receives, or that it waits no longer (`close`), or that too few answered (`fail`)."""

AnyStage = TypeVar("AnyStage", bound=Enum)


def after(table: Mapping[tuple[AnyStage, str], AnyStage], stage: AnyStage, event: str) -> AnyStage:
    """The stage that follows.

    Raises:
        StageError: if the table has no such transition.
    """
    if (stage, event) not in table:
        possible = ", ".join(e for s, e in table if s is stage) or "nothing"
        raise StageError("out-of-order", f"'{event}' while {stage.value}: expected {possible}. Nothing was changed.")
    return table[stage, event]


def diagram(table: Mapping[tuple[AnyStage, str], AnyStage]) -> str:
    """A table as a Mermaid state diagram."""
    arrows = (f"    {before.value} --> {following.value}: {event}" for (before, event), following in table.items())
    return "\n".join(("stateDiagram-v2", *arrows))
