"""The audit of a round: anybody with the roots' keys recomputes the sum from its transcript, without the vectors.

    roster, proposal, directory of the participants, start     what was asked of whom
    Survivors, Agreement*                                      whose vectors, and the sum that at least t sites signed
    Masked*, Seeds, Sum                                        what came of it
    or Release*                                                nothing came of it: too few shares

`Masked` is there only of survivors without a usable sketch. Together these reveal the sum and nothing else.
"""

from collections.abc import Iterable
from itertools import groupby

from common.errors import PolicyError, QuorumError, WireError
from common.secagg.envelope import kind_of
from common.secagg.round import UnmaskedSum
from common.secagg.round_messages import Agreement, Masked, Release, Seeds, Start, Sum, Survivors
from common.secagg.transcript import begun_round
from common.secagg.transcript_reading import TranscriptAccount, TranscriptReading
from common.trust.roster import Pins

_FOLLOWING = {
    Start.KIND: (Survivors.KIND,),
    Survivors.KIND: (Agreement.KIND,),
    Agreement.KIND: (Masked.KIND, Seeds.KIND, Release.KIND),
    Masked.KIND: (Seeds.KIND,),
    Seeds.KIND: (Sum.KIND,),
}
"""Which kinds of messages may come after which."""


def replay_transcript(messages: Iterable[bytes], pins: Pins, *, context: bytes | None = None) -> TranscriptAccount:
    """Go through a round again, whether it made a sum or was void.

    Args:
        context: round_ctx of the round that the auditing site took part in; none: whichever round it is.

    Raises:
        WireError, IdentityError, PolicyError, StageError, ShareError, QuorumError: for a transcript that does not hold.
    """
    entries = iter(messages)
    opening, before = begun_round(entries, pins), Start.KIND
    if context is not None and opening.context != context:
        raise PolicyError(
            "forged-transcript", "the transcript is of another round, model or key period than this site saw."
        )
    reading = TranscriptReading(opening)
    for kind, contents in groupby(entries, kind_of):
        if kind not in _FOLLOWING.get(before, ()):
            raise WireError(f"a transcript with messages out of their order ({kind} after {before}).")
        reading.take(kind, contents)
        before = kind
    return reading.account(before)


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
