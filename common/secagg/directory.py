"""The adverts of a key period, checked in the same way by sites, coordinator and auditor."""

from collections.abc import Mapping, Sequence

from common.errors import IdentityError, QuorumError, StageError
from common.secagg.key_period_messages import Advert
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.protocol import digest
from common.trust.keys import refuse_low_order
from common.trust.roster import Roster


def checked_advert(content: bytes | memoryview, plan: KeyPeriodPlan, roster: Roster) -> Advert:
    """An advert that its sender signed for this key period, with usable keys for every round.

    Raises:
        WireError: if it is no advert.
        StageError: if it is of another key period or run.
        IdentityError: if it is not by a member of the cohort, or has keys of low order.
    """
    advert = Advert.decode(content)
    if advert.context != plan.context:
        raise StageError(
            "other-epoch", "an advert of another key period, run or plan: it was replayed, or the views differ."
        )
    who = sender_of(advert.sender, plan)
    advert.verify(roster.active[who], who=who)
    if len(advert.rounds) != 64 * plan.rounds:
        raise IdentityError("bad-advert", f"{who} published keys for another number of rounds than {plan.rounds}.")
    refuse_low_order(advert.channel, who=who)
    for slot in range(plan.rounds):
        refuse_low_order(advert.mask_key(slot), who=who)
    return advert


def checked_directory(contents: Sequence[bytes], plan: KeyPeriodPlan, roster: Roster) -> dict[int, Advert]:
    """All adverts by position in the cohort.

    Raises:
        QuorumError: if they are too few ever to make a sum.
        IdentityError: if a site is there twice; and as `checked_advert`.
    """
    demand_quorum(len(contents), plan, "published keys")
    adverts = [checked_advert(content, plan, roster) for content in contents]
    senders = [advert.sender for advert in adverts]
    if senders != sorted(set(senders)):
        raise IdentityError("duplicate-site", "the directory lists a site twice, or is not in the cohort's order.")
    return {advert.sender: advert for advert in adverts}


def directory_digest(adverts: Mapping[int, Advert], plan: KeyPeriodPlan) -> bytes:
    """What the sealed shares are bound to: the adverts of all that published keys."""
    return digest("directory", plan.context, *(advert.digest for advert in adverts.values()))


def view_of(participants: Mapping[int, Advert], plan: KeyPeriodPlan) -> bytes:
    """What the rounds are bound to: the adverts of all that published keys and shared them."""
    return digest("view", plan.context, *(advert.digest for advert in participants.values()))


def sender_of(position: int, plan: KeyPeriodPlan) -> str:
    """The name of a cohort's member.

    Raises:
        IdentityError: if the cohort has no such position.
    """
    if position >= len(plan.cohort):
        raise IdentityError("unknown-site", f"a message from position {position} of a cohort of {len(plan.cohort)}.")
    return plan.cohort[position]


def demand_quorum(sites: int, plan: KeyPeriodPlan, did: str) -> None:
    """Refuse to go on with too few.

    Raises:
        QuorumError: with the numbers.
    """
    if sites < plan.quorum:
        raise QuorumError(
            f"{sites} of {len(plan.cohort)} sites {did}, expected {plan.quorum} at least "
            f"(threshold {plan.threshold}, n_min {plan.n_min}): nothing is unmasked. Try again when more are there."
        )
