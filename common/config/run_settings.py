"""The whole file: what all sites of a run share, the run with its data, and the terms of a plan."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from common.config.data_settings import Data, Sites
from common.config.federation_settings import Federation
from common.config.model_settings import Cnn, ModelConfig, PluginNetwork, Svm
from common.config.privacy_settings import Privacy, as_budget_asks, refuse_what_a_budget_does_not_cover
from common.config.section import Frozen, Line, Shape
from common.imaging.augment import Augment
from common.imaging.plugin_step import PluginStep
from common.imaging.step_order import Steps
from common.plugins import Part, PartKind


class Personalise(Frozen):
    """What a site does with the final model on its own, after the rounds."""

    fine_tune_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    mix: bool = True
    """Blend the site's own model with the federated one, by how likely each mix makes the site's validation cases."""
    ridge: bool = True
    """Of the SVM, blend in heads that fit the site's cases and are held to the federated one."""


class Training(Frozen):
    """What all sites of a run share; a plan holds it, and the data stay each site's own matter."""

    name: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)] = (1,)
    preprocess: Steps = ()
    augment: Augment | None = None
    model: ModelConfig
    initial: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of a package from whose weights the training begins, last year's or a partner's, in the place of fresh
    ones; every site needs it (`python -m client packages`). An SVM's in simulations alone."""
    federation: Federation = Federation()
    privacy: Privacy | Literal["none"] | None = None
    """A budget of privacy for every patient; `none`, in a plan: its author knows that nothing bounds what the run tells
    (docs/privacy.md)."""
    likeness: bool = True
    """Gather, as sums, how the training images look in a few characteristics: who uses the model is warned by them of
    images of another kind (docs/sharing.md)."""
    operating_point: Literal["youden", "accuracy"] | Annotated[float, Field(gt=0.0, lt=1.0)] = "youden"
    """Threshold chosen on summed validation counts: best Youden index, best accuracy, or at least this sensitivity."""

    metrics: Annotated[tuple[Part, ...], Field(exclude_if=lambda metrics: not metrics)] = ()
    """Further figures, read off summed counts: of a plug-in's `metrics`, DISTRIBUTION:NAME each."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_seed(cls, seeds: object) -> object:
        return (seeds,) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds

    @model_validator(mode="before")
    @classmethod
    def _as_budget_asks(cls, tree: object) -> object:
        has_budget = isinstance(tree, Mapping) and isinstance(tree.get("privacy"), Mapping | Privacy)
        return as_budget_asks(tree) if has_budget else tree  # type: ignore[arg-type]

    @property
    def budget(self) -> Privacy | None:
        """The budget of privacy; None where nothing bounds what the run tells."""
        return self.privacy if isinstance(self.privacy, Privacy) else None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.budget and any(isinstance(step, PluginStep) for step in self.preprocess):
            raise ValueError("preprocess: with a budget no plug-in's step: what it does with images is not proved")
        if self.budget:
            refuse_what_a_budget_does_not_cover(self)
        elif isinstance(self.model, Svm) and self.model.features == "unit":
            raise ValueError("model.features: unit rows are for a run with a budget: expected a section privacy")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: every seed once")
        if self.model.kind == "svm" and self.federation.rounds < (least := 4 if self.model.class_weight else 3):
            raise ValueError(
                f"federation.rounds: the SVM's first {least - 1} rounds prepare, expected {least} at least"
            )
        if self.model.kind == "svm" and len(self.model.candidates) > 1 and self.federation.select == "last":
            raise ValueError("model.C: validation chooses among several: expected federation.select: loss or auc")
        if private := self.federation.local.private:
            if not isinstance(self.model, Cnn):
                raise ValueError(
                    "federation.local.private names layers of a model of kind cnn; the SVM has one layer, and "
                    "personalise blends it for each site"
                )
            if "norm" in private and self.model.architecture == "plain":
                raise ValueError(
                    "federation.local.private: architecture plain has no normalisation to keep private; take groupnorm "
                    "or resnet, or [head] alone"
                )
        if self.model.kind == "svm" and self.federation.fraction < 1:
            raise ValueError("federation.fraction: the SVM's sums need every site each round, expected 1.0")
        return self

    def parts(self) -> tuple[tuple[PartKind, Part], ...]:
        """Every part of a plug-in that it names, with its kind."""
        parts: list[tuple[PartKind, Part]] = [("steps", s.part) for s in self.preprocess if isinstance(s, PluginStep)]
        if isinstance(self.model, PluginNetwork):
            parts.append(("models", self.model.part))
        if self.federation.part:
            parts.append(("strategies", self.federation.part))
        return (*parts, *(("metrics", part) for part in self.metrics))

    def model_for(self, seed: int) -> ModelConfig:
        """The model of one seed's run: random features that are not pinned follow the seed."""
        if isinstance(self.model, Svm) and self.model.seed is None:
            return self.model.model_copy(update={"seed": seed})
        return self.model

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: two runs with one digest are the same run."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class PlanTerms(Frozen):
    """What a plan says beside the training; a simulation has no use for it."""

    dataset: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Under which name every site has its own images in its `site.yaml`."""
    purpose: Line = "training"
    """One of those that the consortium's roster allows."""
    labels: Annotated[tuple[Line, ...], Field(min_length=2)]
    shape: Shape
    """Of an image after preprocessing: height, width, channels."""
    cohort: tuple[str, ...] = ()
    """The sites that are asked; none: all active members."""
    expires_days: Annotated[float, Field(gt=0.0, le=3650.0)] = 30.0
    """When the plan ends, counted from its signature."""


class Config(Training):
    """One run with its data."""

    data: Data
    sites: Sites
    baselines: tuple[Literal["local", "pooled", "left_out"], ...] = ("local", "pooled")
    """What federated training is compared with: each site alone, all images pooled, and, leaving one site out at a
    time, what a hospital gets that did not train; the last two exist in simulation alone."""
    personalise: Personalise = Personalise()
    cross_site: bool = True
    """In a simulation, run every site's own model, the federated and the pooled one on every site's validation
    cases; with more than 50 sites the last two alone."""
    plan: PlanTerms | None = None

    @model_validator(mode="after")
    def _tests_where_it_can(self) -> Self:
        if self.federation.local.private and self.sites.test_on == "common":
            raise ValueError(
                "sites.test_on: with federation.local.private each site has a model of its own, for its own cases; "
                "expected own"
            )
        return self

    @model_validator(mode="after")
    def _findings_for_a_model_of_findings(self) -> Self:
        findings = self.data.findings
        if findings and not self.model.multilabel:
            raise ValueError("data.findings names several an image, expected model.multilabel: true")
        if self.model.multilabel and not findings:
            raise ValueError("model.multilabel: true, expected the names of the findings in data.findings")
        for site, names in self.sites.unlabelled.items():
            if strange := [name for name in names if name not in findings]:
                raise ValueError(f"sites.unlabelled: {site}: '{strange[0]}' is none of data.findings")
        return self
