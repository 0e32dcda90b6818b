"""A site's signed decision on a plan: whether it takes part, with which images, and whom it took the others to be.

An approval is what a hospital signs. All that is asked of it later is held against it (`common.plans.binding`).
"""

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import WireError
from common.plans.plan import RunPlan
from common.trust.documents import SignedDocument, read_document, sign_document
from common.trust.keys import digest
from common.trust.roster import Roster

Verdict = Literal["approve", "refuse"]


@dataclass(frozen=True)
class Commitment:
    """What an approval binds the site and the others to."""

    members: str
    """`members_digest` of the plan's sites, as the roster had them when the site decided."""
    data: str
    """Digest of the site's cases; an image more, less or other makes another. It tells nobody what they are."""
    publishes: bool = False
    """Whether the site publishes its own figures of the models that the plan has evaluated."""
    fits: tuple[str, ...] = ()
    """The kinds of sums that the site has cases enough for (`common.plans.floors`)."""
    knows: bool = False
    """Whether the site has itself seen that what the plan carries belongs to the run that it names."""
    version: str = ""
    """Keyed digest of all that the site's data set holds, for its own people: which version they approved for. What
    binds is `data`."""


@dataclass(frozen=True)
class Decision:
    """What a site says to a plan."""

    site: str
    plan: str
    verdict: Verdict
    reason: str
    made_s: float
    commitment: Commitment
    document: SignedDocument

    @classmethod
    def make(
        cls, site: str, plan: RunPlan, verdict: Verdict, reason: str, identity: Ed25519PrivateKey,
        commitment: Commitment, *, made_s: float | None = None,
    ) -> Self:  # fmt: skip
        """A decision under the site's identity."""
        content: dict[str, Any] = {"site": site, "plan": plan.digest, "verdict": verdict, "reason": reason[:500]}
        content |= asdict(commitment) | {"fits": list(commitment.fits)}
        content |= {"made_s": time.time() if made_s is None else made_s}
        return cls._of(sign_document("decision", content, [identity]))

    @classmethod
    def load_verified(cls, file: bytes, key: bytes) -> Self:
        """A decision that the holder of the key has signed.

        Raises:
            WireError: if it is none.
            IdentityError: if it is not under that key.
        """
        decision = cls.load(file)
        decision.document.verify([key], "the site")
        return decision

    @classmethod
    def load(cls, file: bytes) -> Self:
        """A decision whose signature was verified before.

        Raises:
            WireError: if it is none.
        """
        return cls._of(read_document(file, "decision"))

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        content = document.content
        try:
            if (verdict := content["verdict"]) not in ("approve", "refuse"):
                raise ValueError(verdict)
            flags = content["publishes"], content["knows"]
            if not all(isinstance(flag, bool) for flag in flags):
                raise TypeError(flags)
            fits = tuple(str(kind) for kind in content["fits"])
            commitment = Commitment(str(content["members"]), str(content["data"]), flags[0], fits, flags[1],
                                    str(content["version"]))  # fmt: skip
            site, plan = str(content["site"]), str(content["plan"])
            return cls(site, plan, verdict, str(content["reason"]), float(content["made_s"]), commitment, document)
        except (KeyError, TypeError, ValueError):
            raise WireError(
                "a decision of another release. Bring both sides to one, and decide on the plan again."
            ) from None


def members_digest(plan: RunPlan, roster: Roster) -> str:
    """Stands for the names and keys of a plan's sites; a key that was changed on the roster makes another."""
    keys = {member.site: member.key for member in roster.members}
    parts = [part for site in plan.content.cohort for part in (site.encode(), keys.get(site, b""))]
    return digest("members", *parts).hex()
