"""A round's messages as a file: each after its length. What the coordinator keeps while a round goes on can be resumed.

While it goes on, all that sites send is kept, vectors included; once it is over, what an auditor needs (`audit`).
"""

from collections.abc import Iterable, Iterator
from typing import IO

from common.errors import PolicyError, WireError
from common.secagg.envelope import kind_of
from common.secagg.key_period import KeyPeriod
from common.secagg.key_period_messages import Directory
from common.secagg.key_period_plan import KeyPeriodPlan, check
from common.secagg.round import RoundOpening
from common.secagg.round_messages import Agreement, Masked, Start
from common.trust.roster import Pins, load_verified_roster

MAX_MESSAGE_BYTES = 2**33


def frame(message: bytes | memoryview) -> bytes:
    """A message after its length: one entry of a transcript."""
    return len(message).to_bytes(8, "little") + message


def read_frames(file: IO[bytes]) -> Iterator[bytes]:
    """The messages of a transcript.

    Raises:
        WireError: if it ends within a message.
    """
    while head := file.read(8):
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > MAX_MESSAGE_BYTES:
            raise WireError("a transcript is damaged: it ends early, or declares a message beyond all measure.")
        # In pieces, so that a false length costs no more memory than there are bytes.
        pieces, missing = [], length
        while missing and (piece := file.read(min(missing, 2**20))):
            pieces.append(piece)
            missing -= len(piece)
        if missing:
            raise WireError(f"a transcript ends {missing} bytes early.")
        yield b"".join(pieces)


def begun_round(entries: Iterator[bytes], pins: Pins) -> RoundOpening:
    """The round that a transcript's first four messages begin: roster, proposal, directory of the participants, start.

    Raises:
        WireError, IdentityError, PolicyError, StageError: for messages that do not hold.
    """
    try:
        roster = load_verified_roster(next(entries), pins)
        plan = KeyPeriodPlan.read(next(entries))
        check(plan, roster)
        key_period = KeyPeriod.of(plan, roster, list(Directory.decode(next(entries)).adverts))
        start = Start.decode(next(entries))
    except StopIteration:
        raise WireError("a transcript without its first four messages.") from None
    if start.kind not in plan.question_kinds or start.slot >= plan.rounds:
        raise PolicyError("unknown-kind", f"a transcript of a round that the plan does not have ('{start.kind}').")
    return RoundOpening(key_period, start.slot, start.kind, start.question)


def resumed_round(messages: Iterable[bytes], pins: Pins) -> RoundOpening:
    """The coordinator's round as it was when the last message was kept; it waits for releases.

    Raises:
        WireError, IdentityError, PolicyError, StageError, ShareError: for messages that do not hold.
        QuorumError: if the survivors were not agreed on yet.
    """
    entries = iter(messages)
    opening, order = begun_round(entries, pins), [Masked.KIND, Agreement.KIND]
    for message in entries:
        while order and kind_of(message) != order[0]:
            opening.close()
            order.pop(0)
        opening.receive(message)
    for _ in order:
        opening.close()
    return opening
