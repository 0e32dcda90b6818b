"""Who publishes its own figures in an evaluation, as every site of a sum has seen it, and when that is too many.

What a site publishes can be taken off a sum that it is in. So what is left of every sum must be the sum of nobody, or
of three sites at least that do not publish. Each site holds the sum that it helps to unmask against this rule itself:
the declarations are in the sites' signed decisions, all are handed to all, and the keys of the sum depend on them, so
that sites which were shown different declarations cannot make a sum together.
"""

import json
from collections.abc import Iterable, Mapping

from common.errors import PolicyError, WireError
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.trust.keys import digest
from common.trust.roster import MIN_COHORT

NAME = "decisions"
"""The array that carries them."""


def decisions_digest(plan: RunPlan, decisions: Mapping[str, Decision]) -> bytes:
    """32 bytes that stand for a plan and for what every site said to it; a sum's keys depend on them."""
    return digest("declared", plan.document.digest, *(decisions[site].document.digest for site in sorted(decisions)))


def encode_decisions(decisions: Mapping[str, Decision]) -> bytes:
    """All decisions, to be shown to every site."""
    return json.dumps([decisions[site].document.to_json() for site in sorted(decisions)]).encode()


def load_verified_decisions(content: bytes, plan: RunPlan, keys: Mapping[str, bytes]) -> dict[str, Decision]:
    """The decisions, each signed by the site that it is of, on this plan, and an approval.

    Raises:
        WireError, IdentityError: for what is no list of decisions under the members' keys.
        PolicyError: for a decision on another plan, or one that is no approval.
    """
    try:
        entries = [(str(entry["content"]["site"]), json.dumps(entry).encode()) for entry in json.loads(content)]
    except (ValueError, KeyError, TypeError):
        raise WireError("no list of decisions. Bring both sides to one release.") from None
    decisions = {}
    for site, paper in entries:
        decision = Decision.load_verified(paper, keys.get(site, bytes(32)))
        if decision.plan != plan.digest or decision.verdict != "approve" or site in decisions:
            raise PolicyError("other-decision", f"{site}: expected one decision that approves {plan.name}.")
        decisions[site] = decision
    return decisions


def publishing_sites(decisions: Mapping[str, Decision]) -> tuple[str, ...]:
    """The sites that said that they publish their figures."""
    return tuple(sorted(site for site, decision in decisions.items() if decision.publishes))


def refuse_lone_figures(summed: Iterable[str], publishers: Iterable[str]) -> None:
    """Hold a sum against those that publish.

    Raises:
        PolicyError: if one or two sites of it would be left that do not.
    """
    others = sorted(set(summed) - set(publishers))
    if 0 < len(others) < MIN_COHORT:
        raise PolicyError(
            "lone-figures",
            f"of a sum with {', '.join(others)} in it all others publish their figures: what is left would tell "
            f"{'its' if len(others) == 1 else 'their'} own. Expected {MIN_COHORT} sites at least that do not publish, "
            "or none. Ask more sites, or have fewer publish.",
        )
