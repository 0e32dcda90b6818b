"""A site's signed decision on a plan: whether it takes part, and whether it publishes its own figures."""

import time
from dataclasses import dataclass
from typing import Any, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import WireError
from common.plans.plan import RunPlan
from common.trust.documents import SignedDocument, read_document, sign_document

Verdict = Literal["approve", "refuse"]


@dataclass(frozen=True)
class Decision:
    """What a site says to a plan."""

    site: str
    plan: str
    verdict: Verdict
    reason: str
    made_s: float
    publishes: bool
    """Whether the site publishes its own figures of the models that the plan has evaluated."""
    document: SignedDocument

    @classmethod
    def make(
        cls, site: str, plan: RunPlan, verdict: Verdict, reason: str, identity: Ed25519PrivateKey, *,
        publishes: bool = False,
    ) -> Self:  # fmt: skip
        """A decision under the site's identity."""
        content: dict[str, Any] = {"site": site, "plan": plan.digest, "verdict": verdict, "reason": reason[:500]}
        content |= {"publishes": publishes}
        return cls._of(sign_document("decision", content | {"made_s": time.time()}, [identity]))

    @classmethod
    def load_verified(cls, file: bytes, key: bytes) -> Self:
        """A decision that the holder of the key has signed.

        Raises:
            WireError: if it is none.
            IdentityError: if it is not under that key.
        """
        document = read_document(file, "decision")
        document.verify([key], "the site")
        return cls._of(document)

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        content = document.content
        try:
            if (verdict := content["verdict"]) not in ("approve", "refuse"):
                raise ValueError(verdict)
            if not isinstance(publishes := content["publishes"], bool):
                raise TypeError(publishes)
            site, plan = str(content["site"]), str(content["plan"])
            return cls(site, plan, verdict, str(content["reason"]), float(content["made_s"]), publishes, document)
        except (KeyError, TypeError, ValueError):
            raise WireError("a decision of another release. Bring both sides to one.") from None
