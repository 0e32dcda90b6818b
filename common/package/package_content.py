"""What package.json says: all that is needed to use the model, and where it comes from."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.config import Fraction, Frozen, ModelConfig, PluginNetwork, Shape
from common.imaging.plugin_step import PluginStep
from common.imaging.step_order import Steps
from common.metrics.score_bins import BINS
from common.plugins import Part

FORMAT = 1
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Cases = Annotated[int, Field(ge=0)]
Bin = Annotated[int, Field(ge=0, lt=BINS)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class PackagePublisher(Frozen):
    """Who has signed the package."""

    name: Word
    roots: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=8)]
    """Ed25519 public keys, hexadecimal; each of them has signed."""


class Calibration(Frozen):
    """How validation cases were scored, for one class: counts by bin of log-odds (`metrics.score_bins`), summed."""

    label: int
    """Index of the class."""
    bins: tuple[Bin, ...]
    """Those that hold a case, rising."""
    outside: tuple[Cases, ...]
    inside: tuple[Cases, ...]
    spacing: Literal["linear", "asinh"] = "linear"
    """Of the bins: a package of release 0.2 says none."""
    slope: Number
    intercept: Number
    """Log-odds to probability, fitted to these counts: 1 / (1 + exp(-(slope · x + intercept)))."""

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if not len(self.bins) == len(self.outside) == len(self.inside) or list(self.bins) != sorted(set(self.bins)):
            raise ValueError("bins rise, with a count outside and one inside for each")
        return self


class Likeness(Frozen):
    """When an image counts as unlike those of the training."""

    limit: Number
    """An image at a greater distance is unlike those of the training."""
    validation: Cases
    """How many validation cases the limit was read off."""
    share: Fraction
    """Share of them beyond it."""


class LogPosition(Frozen):
    """Where the coordinator's log of what was done stood at the export."""

    size: Cases
    root: Digest
    at_s: Number


class Provenance(Frozen):
    """Where the model comes from: run, sites, plan, release."""

    kind: Literal["federation", "simulation", "synthetic"]
    """Real hospitals; one machine that played the sites; and on images that a program drew."""
    run: Word
    sites: tuple[Word, ...]
    plan: Digest | None = None
    consortium: Word | None = None
    roster: Cases | None = None
    """Its version, and below its digest, at the export."""
    roster_digest: Digest | None = None
    audit_head: LogPosition | None = None
    release: Word
    code: Digest
    """Digest of the code that runs at sites: `common.trust.release`."""
    weights: Digest
    """`weights_sha256` of result.json."""
    exported_s: Number


class PackageContent(Frozen):
    """The content of package.json, which its publisher signs."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    publisher: PackagePublisher
    labels: Annotated[tuple[Word, ...], Field(min_length=2, max_length=1000)]
    model: ModelConfig
    private: tuple[Literal["norm", "head"], ...] = ()
    """Layers that stayed at each hospital: the arrays hold what they began with, of no use without own ones."""
    shape: Shape
    """Of an image after preprocessing: height, width, channels."""
    preprocess: Steps
    recipe: Digest
    """Fingerprint of the preprocessing that the sites shared."""
    fingerprint: Digest
    """The same with the federated mean and deviation, which are known now."""
    threshold: Number | tuple[Number, ...] | None
    """Operating point: log-odds above which a case counts as the second class; of several findings, one for each; None
    for more than two classes."""
    rule: Literal["youden", "accuracy"] | Fraction
    """How it was chosen on validation counts."""
    calibration: tuple[Calibration, ...]
    """One for every scored class: of two the second alone; none where nothing was evaluated."""
    likeness: Likeness | None
    licence: Word
    provenance: Provenance
    members: dict[str, Digest]
    """SHA-256 of every other member."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of plug-ins, what the model is made of: it is used only where their very wheels are installed."""
        steps = tuple(step.part for step in self.preprocess if isinstance(step, PluginStep))
        return (*steps, self.model.part) if isinstance(self.model, PluginNetwork) else steps

    def of_finding(self, j: int) -> Self:
        """What is said of one of several findings, as of two classes."""
        name, points = self.labels[j], self.threshold
        one = [entry.model_copy(update={"label": 1}) for entry in self.calibration if entry.label == j]
        point = points[j] if isinstance(points, tuple) else 0.0
        return self.model_copy(update={"labels": (f"no {name}", name), "threshold": point, "calibration": tuple(one)})

    @model_validator(mode="after")
    def _of_these_classes(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("two classes have one label")
        several = self.model.multilabel
        scored = [1] if len(self.labels) == 2 and not several else list(range(len(self.labels)))
        points = len(self.threshold) if isinstance(self.threshold, tuple) else 0
        if points != (len(self.labels) if several else 0):
            raise ValueError("an operating point for each finding, where a model is of findings, and else one at most")
        if self.calibration and [one.label for one in self.calibration] != scored:
            raise ValueError(f"calibration is of the classes {scored}, or of none")
        return self
