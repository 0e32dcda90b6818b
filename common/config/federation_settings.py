"""Section `federation`: the rounds, a site's work in each of them, and what a simulation adds."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from common.config.section import Count, Fraction, Frozen, Positive
from common.plugins import Part


class Local(Frozen):
    """A site's work in one round."""

    epochs: Annotated[float, Field(gt=0.0, le=10_000.0)] | None = None
    steps: Count | None = None
    """Exactly one of the two; neither: one epoch."""
    batch: Count = 32
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    """Over the rounds, from learning_rate to nearly nothing."""
    moments: Literal["fresh", "averaged"] = "fresh"
    """Adam's moments: from zero in each round, or averaged over the sites along with the weights."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    proximal: Annotated[float, Field(ge=0.0)] = 0.0
    """FedProx's μ; used by strategy fedprox."""
    private: tuple[Literal["norm", "head"], ...] = ()
    """Layers of a CNN that stay at each site, trained there and in no sum: its normalisation (FedBN), its last layer
    (FedPer), or both. Needs federation.select: last."""

    @model_validator(mode="after")
    def _one_measure(self) -> "Local":
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        return self


class Simulated(Frozen):
    """Faults that a simulation adds, drawn from the seed."""

    drop: Fraction = 0.0
    """Probability that a site does not answer in a round."""
    slow: Fraction = 0.0
    """Probability that a site answers after the time-out, and so counts as silent."""
    auditors: Annotated[int, Field(ge=0)] = 0
    """So many of the sites recompute every model from the sums, and answer for no other; of real sites all do."""


class Federation(Frozen):
    """The rounds."""

    rounds: Count = 20
    strategy: Literal["fedavg", "fedprox", "scaffold", "fedavgm", "fedadam", "fedyogi", "plugin"] = "fedavg"
    part: Annotated[Part | None, Field(exclude_if=lambda part: part is None)] = None
    """Of strategy plugin: which of a plug-in's `strategies`, DISTRIBUTION:NAME."""
    server_learning_rate: Positive | None = None
    """None: 1 for means and momentum, 0.01 for fedadam and fedyogi; of a plug-in, its own."""
    server_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    local: Local = Local()
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the sites asked in each round; more than two thirds of the draw must then agree on a sum."""
    quorum: Count = 2
    """Fewer answers than this: the round is void, and the run goes on with the next."""
    timeout_s: Positive = 600.0
    evaluate_every: Count = 1
    select: Literal["loss", "auc", "last"] = "loss"
    """Which summed validation figure chooses the best round (auc: the mean of the sites' own); last: the last (for the
    SVM, which converges)."""
    patience: Count | None = None
    """Stop after so many evaluations without a better one."""
    secure: bool = True
    """Secure aggregation: the coordinator learns sums over more than two thirds of the sites (3 at least), and nothing
    of one of them. Off in a simulation alone, to compare."""
    clip: Annotated[float, Field(ge=1e-9, le=1e9)] = 1.0
    """Under secure aggregation, the largest change of one weight in a round that a site reports; more is cut off."""
    weight_bound: Annotated[float, Field(ge=1.0, le=1e9)] = 10_000.0
    """Under secure aggregation, the most cases that a site may have; the fewer, the finer the numbers."""
    epoch_rounds: Annotated[int, Field(ge=1, le=1024)] = 32
    """Questions (a round asks two) that secure aggregation exchanges keys for at a time."""
    simulate: Simulated = Simulated()

    @model_validator(mode="after")
    def _fits_together(self) -> "Federation":
        if self.strategy == "scaffold" and self.local.optimizer != "sgd":
            raise ValueError("strategy scaffold corrects plain gradients: set local.optimizer to sgd")
        if self.strategy == "fedprox" and not self.local.proximal:
            raise ValueError("strategy fedprox needs local.proximal above 0, for example 0.01")
        if (self.strategy == "plugin") != (self.part is not None):
            raise ValueError("strategy plugin, and it alone, has a part: DISTRIBUTION:NAME of an installed plug-in")
        if self.local.private and self.strategy == "scaffold":
            raise ValueError("local.private: strategy scaffold corrects all layers alike; choose another")
        if self.local.private and (self.select != "last" or self.patience is not None):
            raise ValueError(
                "local.private: what sites keep for themselves is of the last round, so the model must be too: set "
                "select to last, and no patience"
            )
        if self.simulate.auditors and not self.secure:
            raise ValueError("simulate.auditors recompute the masked sums: leave secure on, or auditors at 0")
        return self

    def draw(self, sites: Sequence[str], seed: int, number: int, least: int) -> tuple[str, ...]:
        """The sites that are asked in a round: all, or a share of them drawn from the seed.

        Args:
            sites: sorted.
            least: never fewer than so many.
        """
        share = max(self.quorum, least, round(self.fraction * len(sites)))
        if share >= len(sites):
            return tuple(sites)
        places = np.random.default_rng([seed, number]).choice(len(sites), share, replace=False)
        return tuple(sites[i] for i in sorted(places))
