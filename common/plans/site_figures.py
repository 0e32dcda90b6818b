"""A site's own figures of one model, which it publishes: counts on its validation cases, signed by the site.

The only thing of a single site that is ever told, and only where the site's policy says so
(`client.training.evaluating_site`).
"""

import time
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import PolicyError, WireError
from common.metrics.performance import count_shapes
from common.plans.plan import RunPlan
from common.trust.documents import SignedDocument, read_document, sign_document
from common.types import Tensors

ASKED = "evaluation/figures"
"""The kind of request that is answered with it."""


@dataclass(frozen=True)
class SiteFigures:
    """Whose, of which model, and the counts as `common.metrics.performance.count` names them."""

    site: str
    model: str
    """SHA-256 of the model."""
    counts: Tensors
    document: SignedDocument

    @classmethod
    def make(cls, site: str, plan: RunPlan, model: str, counts: Tensors, identity: Ed25519PrivateKey) -> Self:
        """A site's figures, signed with its identity key."""
        content: dict[str, Any] = {"site": site, "plan": plan.digest, "model": model, "made_s": time.time()}
        content["counts"] = {name: np.asarray(value).tolist() for name, value in sorted(counts.items())}
        return cls(site, model, counts, sign_document("figures", content, [identity]))

    @classmethod
    def load_verified(cls, file: bytes, key: bytes, site: str, plan: RunPlan, model: str) -> Self:
        """Figures of this model in this plan that the holder of the key has signed.

        Raises:
            WireError: if they are none.
            IdentityError: if they are not under that key.
            PolicyError: if they are another site's, or of another plan or model.
        """
        document = read_document(file, "figures")
        content = document.verify([key], site)
        if (content.get("site"), content.get("plan"), content.get("model")) != (site, plan.digest, model):
            raise PolicyError("other-figures", f"figures of {content.get('site')}, expected {site}'s for this plan.")
        k = len(plan.content.labels)
        shapes = count_shapes(k, plan.content.training.model.multilabel)
        try:
            counts = {name: np.array(content["counts"][name], np.float64) for name in shapes}
        except (KeyError, TypeError, ValueError):
            raise WireError("figures of another release. Bring both sides to one.") from None
        if any(counts[n].shape != shape or not np.isfinite(counts[n]).all() for n, shape in shapes.items()):
            raise WireError(f"{site}: figures that are no counts of {k} classes.")
        return cls(site, model, counts, document)
