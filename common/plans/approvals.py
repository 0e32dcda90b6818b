"""All approvals of a plan, as every site of the run is shown them: they decide who is in it, and what its keys are.

The coordinator begins a run with the approvals that it has got, and hands all of them to all. Two sites that were shown
different ones derive different keys, and make no sum together; and since more than two thirds of the plan's sites must
be in them, there cannot be two sets with which more than a third of lying sites would not have to agree.

What a site publishes of its own figures can be taken off a sum that it is in. So what is left of every sum must be the
sum of nobody, or of three sites at least that do not publish, more where more may lie (`refuse_lone_figures`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from common.config import Training
from common.errors import PolicyError, WireError
from common.imaging import Pipeline
from common.plans import floors
from common.plans.decision import Decision, members_digest
from common.plans.plan import RunPlan
from common.secagg.key_period_plan import RUN_BYTES, least_apart, threshold
from common.trust.documents import MOST_LEVELS, foreign_json
from common.trust.keys import digest
from common.trust.roster import Roster

NAME = "approvals"
"""The array that carries them."""


@dataclass(frozen=True)
class Approvals:
    """The approvals with which a run begins, by site; checked when they are made."""

    plan: RunPlan
    decisions: Mapping[str, Decision]

    def __post_init__(self) -> None:
        """Refuse what no run may begin with.

        Raises:
            PolicyError: naming the rule: a decision that is none of this plan's approvals, sites that took the others
                for somebody else, too few, or too few that know what the plan carries.
        """
        content, sites = self.plan.content, self.sites
        for site, decision in self.decisions.items():
            content_of_decision = (decision.site, decision.plan, decision.verdict)
            if content_of_decision != (site, self.plan.digest, "approve") or site not in content.cohort:
                raise PolicyError("other-decision", f"{site}: expected one decision that approves {self.plan.name}.")
        if len({decision.commitment.members for decision in self.decisions.values()}) > 1:
            raise PolicyError(
                "other-members",
                f"the sites approved {self.plan.name} under different keys of its sites: the roster was changed in "
                "between. The plan has to be drawn up again.",
            )
        if len(sites) < (least := threshold(len(content.cohort))):
            raise PolicyError(
                "too-few-approvals",
                f"{len(sites)} of the plan's {len(content.cohort)} sites approved {self.plan.name}, expected {least}: "
                "more than two thirds. Draw up a plan for those who take part.",
            )
        needs_pixels = Pipeline(content.training.preprocess).needs_statistics and not content.models
        if needs_pixels and content.carried and "recipe" not in dict(content.carried.sha256):
            raise PolicyError(
                "forged-carry",
                f"{self.plan.name} needs mean and variance, and carries none from {content.carried.name}.",
            )
        sums_pixels = needs_pixels and not content.carried
        if sums_pixels and "statistics" not in self.fits:
            few = [site for site in sites if "statistics" not in self.decisions[site].commitment.fits]
            raise PolicyError(
                "floor",
                f"{', '.join(few)}: too few cases for a sum of mean and variance that tells nobody. Draw up a plan "
                "without federated normalisation, or one that carries an earlier run's.",
            )
        knowing = [site for site in sites if self.decisions[site].commitment.knows]
        if content.carried and len(knowing) < (least := len(content.cohort) // 3 + 1):
            raise PolicyError(
                "unknown-carry",
                f"{len(knowing)} of the plan's {len(content.cohort)} sites know what it carries from "
                f"{content.carried.name}, expected {least}: more than a third. Carry from a run that more of them were "
                "in, or ask for the sums again (server run --ask-anew).",
            )

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites of the run, sorted."""
        return tuple(sorted(self.decisions))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that stand for the plan and for what every site said to it; every key of the run depends on them."""
        papers = (self.decisions[site].document.digest for site in self.sites)
        return digest("approvals", self.plan.document.digest, *papers)

    @property
    def run(self) -> bytes:
        """The run's name in the protocol: a plan has one run, and a second start goes on with the first."""
        return digest("run", self.plan.document.digest, self.digest)[:RUN_BYTES]

    @property
    def publishing(self) -> tuple[str, ...]:
        """The sites that said that they publish their figures."""
        return tuple(site for site in self.sites if self.decisions[site].commitment.publishes)

    @cached_property
    def fits(self) -> frozenset[str]:
        """The kinds of sums that every site has cases enough for."""
        return floors.kinds_of_all(decision.commitment.fits for decision in self.decisions.values())

    @property
    def training(self) -> Training:
        """The plan's training; how images look is gathered only where every site has cases enough."""
        training = self.plan.content.training
        source = self.plan.content.carried
        gathers = "likeness" in (dict(source.sha256) if source else self.fits)
        return training if gathers else training.model_copy(update={"likeness": False})

    @property
    def frequencies(self) -> int:
        """Of the SVM's second moments: as an earlier run asked for them, or the most that all have cases enough for."""
        source = self.plan.content.carried
        if source and "gram" in dict(source.sha256):  # then none are asked
            return source.frequencies
        return floors.most_frequencies(self.fits)

    def data_of(self, sites: Iterable[str]) -> bytes:
        """Stands for these sites with their images, as they were approved with."""
        parts = [part for site in sorted(sites) for part in (site, self.decisions[site].commitment.data)]
        return digest("images", *(part.encode() for part in parts))

    def encode(self) -> bytes:
        """All of them, to be shown to every site."""
        return json.dumps([self.decisions[site].document.to_json() for site in self.sites]).encode()

    @classmethod
    def load_verified(cls, content: bytes, plan: RunPlan, roster: Roster) -> Self:
        """Approvals of a plan, each signed by the site that it is of, and of the plan's sites as this roster has them.

        Raises:
            WireError, IdentityError: for what is no list of decisions under the members' keys.
            PolicyError: as for any; and where the sites took the others for somebody else than this roster says.
        """
        keys = {member.site: member.key for member in roster.members}
        papers = _papers(content)
        approvals = cls(
            plan, {site: Decision.load_verified(paper, keys.get(site, bytes(32))) for site, paper in papers}
        )
        if len(approvals.decisions) < len(papers):
            raise PolicyError("other-decision", f"two decisions of one site on {plan.name}, expected one of each.")
        if approvals.members != members_digest(plan, roster):
            raise PolicyError(
                "other-members",
                f"the sites of {plan.name} have other keys on the roster than when it was approved. The plan has to be "
                "drawn up again.",
            )
        return approvals

    @classmethod
    def load(cls, content: bytes, plan: RunPlan) -> Self:
        """Approvals that were verified before they were written down here."""
        return cls(plan, {site: Decision.load(paper) for site, paper in _papers(content)})

    def pack(self) -> bytes:
        """The approvals with their plan, for another process of the same person."""
        return json.dumps({"plan": self.plan.document.to_json(), NAME: json.loads(self.encode())}).encode()

    @classmethod
    def unpack(cls, content: bytes) -> Self:
        """What `pack` made."""
        parts = json.loads(content)
        return cls.load(json.dumps(parts[NAME]).encode(), RunPlan.load(json.dumps(parts["plan"]).encode()))

    @property
    def members(self) -> str:
        """`members_digest` of the plan's sites, as all of these took them to be."""
        return next(iter(self.decisions.values())).commitment.members


def _papers(content: bytes) -> list[tuple[str, bytes]]:
    try:
        entries = foreign_json(content, MOST_LEVELS + 1)
        return [(str(entry["content"]["site"]), json.dumps(entry).encode()) for entry in entries]
    except (ValueError, KeyError, TypeError):
        raise WireError("no list of decisions. Bring both sides to one release.") from None


def refuse_lone_figures(summed: Iterable[str], publishers: Iterable[str], many: int) -> None:
    """Hold a sum against those that publish.

    Args:
        many: sites of the plan.

    Raises:
        PolicyError: if so few sites of it would be left that do not, that all but one of them may lie.
    """
    others, least = sorted(set(summed) - set(publishers)), least_apart(many)
    if 0 < len(others) < least:
        raise PolicyError(
            "lone-figures",
            f"of a sum with {', '.join(others)} in it all others publish their figures: what is left would tell "
            f"{'its' if len(others) == 1 else 'their'} own. Expected {least} sites at least that do not publish, "
            "or none. Ask more sites, or have fewer publish.",
        )
