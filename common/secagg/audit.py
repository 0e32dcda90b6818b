"""The transcript of a round, and its audit: anybody with the roots' keys recomputes the sum from it.

A transcript is messages, one after the other, each after its length: the signed roster, the proposal, the directory of
the participants, the start, then what the sites sent: masked vectors, agreements, releases. Together they reveal the
sum and nothing else. The coordinator writes it as the round goes on; the audit holds one vector at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from common.errors import PolicyError, QuorumError, ShareError, WireError
from common.secagg.envelope import kind_of
from common.secagg.key_period import KeyPeriod
from common.secagg.key_period_messages import Directory
from common.secagg.key_period_plan import KeyPeriodPlan, check
from common.secagg.round import RoundOpening, UnmaskedSum
from common.secagg.round_messages import Agreement, Masked, Start
from common.trust.roster import Pins, Roster, load_verified_roster

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


@dataclass(frozen=True)
class TranscriptAccount:
    """What a transcript says of a round, after every check that the coordinator has to make."""

    plan: KeyPeriodPlan
    roster: Roster
    start: Start
    context: bytes
    """`round_ctx` of docs/secure-aggregation.md: what masks and signatures of the round are bound to."""
    total: UnmaskedSum | None
    """The sum that follows; none where the round came to nothing after the survivors had been agreed on."""
    failure: QuorumError | ShareError | None
    """Why it came to nothing."""
    withholders: tuple[str, ...]
    """Sites that agreed on the survivors, and whose shares are not in the transcript."""


def replay_transcript(messages: Iterable[bytes], pins: Pins, *, context: bytes | None = None) -> TranscriptAccount:
    """Go through a round again, whether it made a sum or was void.

    Args:
        context: round_ctx of the round that the auditing site took part in; none: whichever round it is.

    Raises:
        WireError, IdentityError, PolicyError, StageError, ShareError, QuorumError: for a transcript that does not hold.
    """
    entries = iter(messages)
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
    opening = RoundOpening(key_period, start.slot, start.kind, start.question)
    if context is not None and opening.context != context:
        raise PolicyError(
            "forged-transcript", "the transcript is of another round, model or key period than this site saw."
        )
    order = [Masked.KIND, Agreement.KIND]
    for message in entries:
        while order and kind_of(message) != order[0]:
            opening.close()
            order.pop(0)
        opening.receive(message)
    while order:
        opening.close()
        order.pop(0)
    try:
        opening.close()
        total, failure = opening.total(), None
    except (QuorumError, ShareError) as error:
        total, failure = None, error
    return TranscriptAccount(plan, roster, start, opening.context, total, failure, opening.withholders)


def audit(messages: Iterable[bytes], pins: Pins, *, context: bytes | None = None) -> UnmaskedSum:
    """The sum that follows from a transcript, to be compared with the one that was used; arguments as `account`.

    Raises:
        WireError, IdentityError, PolicyError, StageError, ShareError, QuorumError: for a transcript that does not hold,
            or of a round without a sum.
    """
    account = replay_transcript(messages, pins, context=context)
    if account.total is None:
        raise account.failure or QuorumError("a round without a sum.")
    return account.total


def refuse_other_sum(claimed: UnmaskedSum, audited: UnmaskedSum) -> None:
    """Compare the sum that the coordinator used with the one that follows from the transcript.

    Raises:
        PolicyError: if they differ.
    """
    same = claimed.words.shape == audited.words.shape and bool((claimed.words == audited.words).all())
    if not same or claimed.survivors != audited.survivors:
        raise PolicyError(
            "forged-aggregate", "the coordinator's sum is not the sum of what the sites sent. Do not use its model."
        )
