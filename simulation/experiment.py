"""One seed of a simulation: its data, its model, and where it writes; and a model as the outcome of a training."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from client.dataset.loading import PreparedData
from client.training.site import Site
from common.cli.progress import Watch
from common.config import Config, Local
from common.image_stack import batches, slices, together
from common.metrics import score_bins
from common.metrics.performance import Threshold
from common.models import Model, build
from common.plans import floors
from common.types import SiteCases, Tensors
from server.rounds.round_record import RoundRecord
from simulation import Engine
from simulation.shared_parts import SharedParts

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class TrainedModel:
    """A model as the outcome of one way of training."""

    weights: Tensors
    normalisation: Tensors
    """Mean and variance over the training images, float64[h, w, c] each, where the preprocessing needs them."""
    threshold: Threshold
    """The operating point, chosen on `counts`."""
    records: tuple[RoundRecord, ...]
    best_round: int
    counts: Tensors
    """Summed outcomes on its members' validation cases."""
    likeness: Tensors = field(default_factory=dict)
    """How the training images look, where the run gathers it."""
    statistics: RoundRecord | None = None
    """What came of the question before the first round, where there was one."""
    early_end: str = ""
    """Why the rounds ended before all were done: who refused; empty where nobody did for good."""
    private: Mapping[str, Tensors] = field(default_factory=dict)
    """By site, the layers that it keeps for itself; empty where all are shared."""

    @property
    def strength(self) -> float | None:
        """Of several C, the one that it was trained with; None where there was but one."""
        return next((r.validation.get("C") for r in self.records if r.round == self.best_round), None)

    def at(self, site: str) -> Self:
        """The model as a site has it: with its own private layers, as they began at one that trained none."""
        return replace(self, weights={**self.weights, **self.private.get(site, {})})


@dataclass
class Experiment:
    """One seed of a run."""

    config: Config
    seed: int
    data: PreparedData
    model: Model
    folder: Path
    watch: Watch
    engine: Engine = "memory"
    """What carries the federation's messages; the bits are the same."""
    transcripts: bool = False
    """Keep every round's messages, for an audit."""
    label: int | str = ""
    """What results call it: the seed, or the seed with split and fold."""
    parts: SharedParts = field(default_factory=SharedParts)
    """What other runs of a sweep have made already."""

    def __post_init__(self) -> None:
        self.label = self.label or self.seed

    @classmethod
    def with_model(
        cls, config: Config, seed: int, data: PreparedData, folder: Path, watch: Watch,
        engine: Engine = "memory", transcripts: bool = False,
    ) -> Self:  # fmt: skip
        """One seed with a model that fits its images."""
        shape = data.sites[0].train.images.shape[1:]
        frequencies = floors.frequencies_for([len(site.train) for site in data.sites])
        model = build(config.model_for(seed), shape, len(data.labels), config.augment, frequencies)
        return cls(config, seed, data, model, folder, watch, engine, transcripts)

    @property
    def workers(self) -> int:
        """How many sites train at the same time: the CNN's graphs run on one core each, the SVM's algebra on all."""
        return 1 if self.config.model.kind == "svm" else os.cpu_count() or 1

    def site(self, cases: SiteCases, local: Local | None = None) -> Site:
        """The site that answers for these cases; no patient's, or on one machine: it may be a handful of them."""
        return Site(cases, self.data.pipeline, self.model, local or self.config.federation.local, least_active=1)

    def work(self, members: Sequence[str]) -> int:
        """How long the rounds of these members take, in training cases (`work_of`)."""
        return work_of(self.config, self.data, members)

    def digest(self) -> str:
        """SHA-256 of configuration and data: a checkpoint of anything else is refused."""
        places = {"path", "home", "cache", "cache_gb", "in_memory_mb"}
        settings = self.config.model_dump(mode="json", exclude={"seeds": True, "data": places})
        sha = hashlib.sha256(repr((settings, self.seed, score_bins.LEVELS, score_bins.WINDOW)).encode())
        for cases in [part for s in self.data.sites for part in (s.train, s.validation, s.test)]:
            for stack in batches(cases.images, slices(len(cases), together(cases.images))):
                sha.update(np.ascontiguousarray(stack).data)
            sha.update(np.ascontiguousarray(cases.labels).data)
        return sha.hexdigest()


def work_of(config: Config, data: PreparedData, members: Sequence[str]) -> int:
    """How long the rounds of these members take, in training cases: their own, of all sites for others than sites.

    Where a round is so many steps, it takes as long at a small site as at a large one.
    """
    local, sizes = config.federation.local, {s.name: len(s.train) for s in data.sites}
    if local.steps and config.model.kind != "svm":
        shares = [len(sizes) if name == "pooled" else 1 for name in members]
        return local.steps * local.batch * sum(shares)
    return sum(sizes.get(name, sum(sizes.values())) for name in members)
