"""What a site makes of the federated model for itself, after the rounds. Nothing of this leaves the site.

    own           the model that the site trained alone
    federated     the common one, its intercepts moved to how often each class is seen here
    loose, tight  linear heads that fit the site's own cases, and are held to the federated head by a ridge

The personalised model is a blend: the mean of all ways to mix them, each weighted by how likely it makes the site's
validation cases (Bayesian model averaging: Hoeting et al., Statistical Science 1999), to the power of ½, since no mix
is the truth (Grünwald and van Ommen, Bayesian Analysis 2017). So no number of cases is needed to begin with: few cases
leave the mean near the middle of all, which is seldom worse than the worse and often better than the better; many
single one way out. Where a class was never seen here there is nothing to tell classes apart by, and the federated model
stays, with its intercepts moved. Before that, a CNN may be fine-tuned; it stays as it was where that does not help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from common.config import Local, Personalise
from common.metrics import performance
from common.models import Logits, Model, Work
from common.models.svm import LinearSvm
from common.types import Cases, Labels, Tensors

Floats = NDArray[np.float64]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the site's own model in a mix."""
SCALES = (0.5, 1.0)
"""Of all logits: a model that few cases made is too sure of itself."""
RIDGES = {"loose": 4.0, "tight": 64.0}
"""How many times as strongly as the own model to zero a head is held to the federated one."""
POWER = 0.5
"""Of the likelihood."""
PSEUDO_CASES = 0.5
"""Of each class, so that one that was never seen here is rare and not impossible."""
FINE_TUNING_SLOWDOWN = 0.1  # of the learning rate of the rounds
STEPS = 200


@dataclass(frozen=True)
class Blend:
    """What a personalised model is made of, and why."""

    parts: Mapping[str, float]
    """By part, what its logits are multiplied by; a part that is left out has no share."""
    own_share: float
    """Of the site's own model, of 1."""
    reason: str
    """In words."""
    log_losses: Mapping[str, float] = field(default_factory=dict)
    """On the site's validation cases: own, federated, personalised; empty where nothing was chosen by them."""
    shift: Floats | None = None
    """float64[k]: added to the federated logits; None: they stay as they are."""

    @property
    def is_unchanged(self) -> bool:
        """Whether it is the federated model as it is."""
        return self.shift is None and self.parts == {"federated": 1.0}

    def __call__(self, logits: Mapping[str, Logits]) -> Floats:
        """Blended logits, float64[n, k], from those of its parts at least."""
        return _mix(self.parts, logits, self.shift)

    def as_json(self) -> dict[str, object]:
        """Plain values for result.json."""
        shift = None if self.shift is None else self.shift.tolist()
        return {"own_share": self.own_share, "parts": dict(self.parts), "shift": shift,
                "log_loss": dict(self.log_losses), "reason": self.reason}  # fmt: skip


UNCHANGED = Blend({"federated": 1.0}, 0.0, "the federated model as it is: personalise.mix is off")
OF_FINDINGS = Blend({"federated": 1.0}, 0.0, "the federated model as it is: several findings an image are not blended")


@dataclass(frozen=True)
class Scored:
    """A site's cases of one part, as every part of a blend scores them."""

    logits: Mapping[str, Logits]
    """By part: `federated`, and of the validation cases all the others."""
    labels: Labels


def choose_blend(train: Scored, validation: Scored, names: Sequence[str]) -> Blend:
    """The blend that a site's cases speak for.

    Args:
        train: with the federated logits; the validation cases have those of `own` too, and of heads in between.
        names: of the classes.
    """
    if validation.labels.ndim > 1:
        return OF_FINDINGS
    common, labels = np.concatenate([s.logits["federated"] for s in (train, validation)]), validation.labels
    shift = intercepts(common, np.concatenate([train.labels, labels]))
    if missing := _missing(train.labels, labels, names):
        reason = f"the federated model, its intercepts moved to how often each class is seen here: {missing}"
        return Blend({"federated": 1.0}, 0.0, reason, shift=shift)
    return _choose(validation.logits, labels, shift)


def _choose(validation: Mapping[str, Logits], labels: Labels, shift: Floats) -> Blend:
    """The mean of all mixes, weighted by likelihood."""
    heads = [name for name in validation if name != "own"]
    mixes = [(share, head, scale) for share, head, scale in product(SHARES, heads, SCALES)]
    parts = [_parts(*mix) for mix in mixes]
    likely = np.array([-performance.log_losses(_mix(p, validation, shift), labels).sum() for p in parts])
    weights = np.exp(POWER * (likely - likely.max()))
    weights /= weights.sum()
    blended = {name: float(weights @ [p.get(name, 0.0) for p in parts]) for name in validation}
    losses = {name: _loss(validation[name], labels) for name in ("own", "federated")}
    losses["personalised"] = _loss(_mix(blended, validation, shift), labels)
    own_share = float(weights @ [share for share, _, _ in mixes])
    return Blend(blended, own_share, _reason(blended, losses, labels), losses, shift)


def intercepts(logits: Logits, labels: Labels) -> Floats:
    """What moves logits float[n, k] to the labels' shares of each class, float64[k]: the most likely intercepts, found
    by proportional fitting; zeros without cases."""
    classes, shift = logits.shape[1], np.zeros(logits.shape[1])
    if not len(labels):
        return shift
    shares = (np.bincount(labels, minlength=classes) + PSEUDO_CASES) / (len(labels) + classes * PSEUDO_CASES)
    for _ in range(STEPS):
        z = np.asarray(logits, np.float64) + shift
        p = np.exp(z - z.max(axis=1, keepdims=True))
        shift = shift + np.log(shares / np.maximum((p / p.sum(axis=1, keepdims=True)).mean(axis=0), 1e-12))
    return np.asarray(shift - shift.mean())


def heads_near(model: Model, federated: Tensors, train: Cases, strength: float | None = None) -> dict[str, Tensors]:
    """Linear heads that fit a site's training cases and are held to the federated one: for each strength of RIDGES the
    optimum of C Σ loss + ½ strength |w - federated|². Empty for another model, and without cases.

    Args:
        strength: of several C, the one that the federated model was trained with; none: the only one.
    """
    if not isinstance(model, LinearSvm) or model.multilabel or not len(train):
        return {}
    rows, width = federated["alpha"].shape
    anchor = np.concatenate([federated["alpha"], federated["intercept"][:, None]], axis=1).astype(np.float64).ravel()

    def weights(point: Floats) -> Tensors:
        w = point.reshape(rows, width + 1)
        return {**federated, "alpha": w[:, :-1], "intercept": w[:, -1]}

    def objective(point: Floats, C: float) -> tuple[float, Floats]:
        sums, away = model.gradient(weights(point), train, by_class), point - anchor
        return C * sums["loss"].sum() + 0.5 * away @ away, C * sums["gradient"].ravel() + away

    heads, start = dict[str, Tensors](), anchor
    by_class = model.balance(model.count(train)["classes"])
    for name in sorted(RIDGES, key=RIDGES.__getitem__, reverse=True):  # from the strongest: each starts from the last
        C = (strength or model.config.candidates[0]) / RIDGES[name]
        optimum = minimize(
            objective, start, (C,), method="L-BFGS-B", jac=True, options={"maxiter": STEPS, "gtol": 1e-4}
        )
        heads[name], start = weights(optimum.x), optimum.x
    return heads


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


def _parts(own_share: float, head: str, scale: float) -> dict[str, float]:
    return {"own": scale * own_share, head: scale * (1 - own_share)}


def _mix(parts: Mapping[str, float], logits: Mapping[str, Logits], shift: Floats | None) -> Floats:
    total = np.zeros(logits["federated"].shape)
    for name, share in parts.items():
        part = np.asarray(logits[name], np.float64)
        total += share * (part + shift if name == "federated" and shift is not None else part)
    return total


def _loss(logits: NDArray[np.floating], labels: Labels) -> float:
    return float(performance.log_losses(logits, labels).mean())


def _missing(train: Labels, validation: Labels, names: Sequence[str]) -> str:
    """Which part of the cases lacks a class, in words; empty where none does."""
    for part, labels in (("training", train), ("validation", validation)):
        counts = np.bincount(labels, minlength=len(names))
        if gaps := [name for name, n in zip(names, counts, strict=True) if not n]:
            return f"no {part} case of {', '.join(gaps)} says how much of its own model to take"
    return ""


def _reason(parts: Mapping[str, float], losses: Mapping[str, float], labels: Labels) -> str:
    whole, between = sum(parts.values()), sum(parts.get(name, 0.0) for name in RIDGES)
    words = [("own", parts["own"]), ("federated", parts["federated"]), ("in between", between)]
    shares = ", ".join(f"{share / whole:.0%} {name}" for name, share in words if share)
    return (
        f"{shares}; log-loss on {len(labels)} validation cases {losses['personalised']:.3f}, "
        f"own {losses['own']:.3f}, federated {losses['federated']:.3f}"
    )
