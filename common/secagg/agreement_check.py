"""Whether enough sites have signed the same survivors: what a participant asks for before it releases any share.

The consistency check of Bonawitz et al., section 6, against a coordinator that lies.
"""

from common.errors import IdentityError, PolicyError
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.parallel import run_on_cores
from common.secagg.round_messages import Agreement, Agreements
from common.secagg.state import ParticipantRound
from common.trust.roster import Roster


def verify_agreements(
    message: Agreements, current: ParticipantRound, plan: KeyPeriodPlan, roster: Roster, position: int
) -> None:
    """Check the signatures under the survivors that this participant has signed itself.

    Args:
        position: this participant's place in the cohort; its own signature is not checked again.

    Raises:
        IdentityError: a signature that does not hold, or by one that is not among the survivors.
        PolicyError: fewer signatures than the plan's threshold.
    """
    # The coordinator could tell half of the sites that x survived and the others that it dropped out, and collect both
    # its self mask and its mask key. But t sites must have signed the same survivors, and an honest site signs once a
    # round: see `key_period_plan.threshold`.
    if not {sender for sender, _ in message.signatures} <= set(current.survivors):
        raise IdentityError("unknown-site", "a signature under the survivors by one that is not among them.")
    others = [pair for pair in message.signatures if pair[0] != position]

    def check(pair: tuple[int, bytes]) -> None:
        who = plan.cohort[pair[0]]
        agreement = Agreement(current.context, pair[0], current.survivors, signature=pair[1])
        agreement.verify(roster.active[who], who=who)

    run_on_cores(others, lambda: check)
    if len(message.signatures) < plan.threshold:
        raise PolicyError(
            "too-few-signatures",
            f"{len(message.signatures)} sites signed the survivors, expected {plan.threshold} at least.",
        )
