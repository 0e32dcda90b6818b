"""What a participant signs about the survivors' sum; and whether enough have, before it releases any share.

The consistency check of Bonawitz et al., section 6, against a coordinator that lies.
"""

import numpy as np

from common.errors import IdentityError, PolicyError, StageError
from common.secagg import masks
from common.secagg.fixedpoint import Layout
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.parallel import run_on_cores
from common.secagg.round_messages import Agreement, Agreements
from common.secagg.sketch import Challenge, key_of, limbs_of
from common.secagg.state import ParticipantRound
from common.trust.roster import Roster


def own_sketch(vector: bytes | memoryview, current: ParticipantRound, layout: Layout) -> bytes:
    """The sketch of the masked vector that a participant sent, for the survivors and the sum of `current`.

    Raises:
        StageError: if these are not the bytes that it sent.
    """
    if memoryview(vector).nbytes == layout.length * layout.dtype.itemsize:
        words: masks.Words = np.frombuffer(vector, layout.dtype)
        key = key_of(current.context, current.survivors, current.sum)
        sketch, root = Challenge(key, len(limbs_of(words))).sketch_and_hash(words)
        if root == current.root:
            return sketch
    raise StageError("lost-vector", "the masked vector that this site sent in the round is gone, or another is there.")


def verify_agreements(
    message: Agreements, current: ParticipantRound, plan: KeyPeriodPlan, roster: Roster, position: int
) -> None:
    """Check the signatures under the survivors and the sum that this participant has signed itself.

    Args:
        position: this participant's place in the cohort; its own signature is not checked again.

    Raises:
        IdentityError: a signature that does not hold, or by one that is not among the survivors.
        PolicyError: under another sum, or fewer signatures than the plan's threshold.
    """
    # The coordinator could tell half of the sites that x survived and the others that it dropped out, and collect both
    # its self mask and its mask key. But t sites must have signed the same survivors, and an honest site signs once a
    # round: see `key_period_plan.threshold`. Likewise for two sums, of which each half would be shown one.
    if message.sum != current.sum:
        raise PolicyError("other-sum", "the signatures are said to be under another sum than the one signed here.")
    if not {sender for sender, _, _ in message.signatures} <= set(current.survivors):
        raise IdentityError("unknown-site", "a signature under the survivors by one that is not among them.")
    others = [signature for signature in message.signatures if signature[0] != position]

    def check(statement: tuple[int, bytes, bytes]) -> None:
        sender, sketch, signature = statement
        agreement = Agreement(current.context, sender, current.survivors, current.sum, sketch, signature=signature)
        agreement.verify(roster.active[plan.cohort[sender]], who=plan.cohort[sender])

    run_on_cores(others, lambda: check)
    if len(message.signatures) < plan.threshold:
        raise PolicyError(
            "too-few-signatures",
            f"{len(message.signatures)} sites signed the survivors, expected {plan.threshold} at least.",
        )
