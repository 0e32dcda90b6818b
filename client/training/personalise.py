"""What a site makes of the federated model for itself, after the rounds. Nothing of this leaves the site.

The site's own and the federated model's logits are mixed, the own share chosen from {0, ¼, ½, ¾, 1} by log-loss on the
site's validation cases; so a hospital whose patients differ keeps what it knows, and one with few cases takes what the
others know. A site that cannot choose, for it has hardly a case of some class, keeps the federated model. Before that,
the federated model may be fine-tuned; it stays as it was where that does not help.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.config import Local, Personalise
from common.metrics import performance
from common.models import Logits, Model, Work
from common.types import Cases, Labels, Tensors

FEWEST = 5
"""Validation cases of every class below which nothing is chosen by them."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FINE_TUNING_SLOWDOWN = 0.1  # of the learning rate of the rounds


@dataclass(frozen=True)
class Mix:
    """How much of the site's own model goes into its personalised one."""

    own_share: float

    def __call__(self, local: Logits, federated: Logits) -> NDArray[np.float64]:
        """Mixed logits, float64[n, k]."""
        return self.own_share * np.asarray(local, np.float64) + (1 - self.own_share) * np.asarray(federated, np.float64)


def choose_mix(local: Logits, federated: Logits, labels: Labels) -> Mix:
    """The mix with the lowest log-loss on these (validation) cases; at a tie the more federated one."""
    if np.bincount(labels, minlength=local.shape[1]).min() < FEWEST:
        return Mix(0.0)
    losses = [performance.log_losses(Mix(share)(local, federated), labels).mean() for share in SHARES]
    return Mix(SHARES[int(np.argmin(losses))])


def fine_tune(
    model: Model, weights: Tensors, train: Cases, validation: Cases, plan: Personalise, local: Local, seed: int
) -> Tensors:
    """The federated weights after some epochs at the site alone, or as they were where validation log-loss rises."""
    if not plan.fine_tune_epochs or not len(validation):
        return weights
    gentle = local.model_copy(update={"epochs": plan.fine_tune_epochs, "steps": None, "moments": "fresh"})
    work = Work(gentle, local.learning_rate * FINE_TUNING_SLOWDOWN, seed, decay_to_zero=True)
    tuned = model.fit(weights, train, work).weights
    before, after = (
        performance.log_losses(model.scores(w, validation.images), validation.labels).mean() for w in (weights, tuned)
    )
    return tuned if after < before else weights
