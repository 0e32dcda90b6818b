"""One run's configuration: a YAML file, checked once at the edge, then frozen.

Unknown keys are refused, values out of range are refused, and every error names key, file, and what was expected.
`load("configs/demo.yaml", ["federation.rounds=3"])` reads a file and lays overrides over it.
"""

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ConfigError
from common.imaging.augment import Augment
from common.imaging.steps import AnyStep, Steps

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Frozen(BaseModel):
    """A section of the configuration: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- where the cases come from -------------------------------------------------------------------------------------


class Source(Frozen):
    """What every kind of data source has."""

    labels: tuple[str, ...] = ()
    """Names of the classes in the order of their index; empty: taken from the data, sorted."""
    on_error: Literal["stop", "report"] = "stop"
    """An unreadable image or a bad row: stop the run, or leave the case out and list it in the report."""
    cache: Path | None = None
    """Folder for decoded images; none: `cache/` in the working folder, never inside the data set."""


class Synthetic(Source):
    """Radiograph-like phantoms that the program draws itself. Always called synthetic."""

    kind: Literal["synthetic"]
    sites: Annotated[int, Field(ge=1, le=100)] = 5
    cases: Annotated[int, Field(ge=10)] = 200
    """Mean number of cases a site; the sites differ in size."""
    size: Annotated[int, Field(ge=16, le=512)] = 64
    classes: Annotated[int, Field(ge=2, le=4)] = 2
    seed: int = 1


class Download(Frozen):
    """Where a public file may be fetched when none of the paths exists; verified before it is used."""

    url: Annotated[str, Field(pattern=r"^https://")]
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _checksum(self) -> "Download":
        if not (self.md5 or self.sha256):
            raise ValueError("give the publisher's md5 or sha256: a download without a checksum is not used")
        return self


class Npz(Source):
    """Arrays in one .npz: MedMNIST's layout by itself, any other by the names of its arrays."""

    kind: Literal["npz"]
    path: Path | tuple[Path, ...]
    """One path, or several of which the first that exists is taken; relative to the config file, else to the working
    folder."""
    download: Download | None = None
    """Fetched to the last of the paths, relative to the config file, where none of them exists."""
    images: str | None = None
    targets: str | None = None
    """Name of the array of labels."""
    names: str | None = None
    """Name of the array of class names, indexed by the labels; none: `class_names` where there is one."""
    site: str | None = None
    patient: str | None = None
    split: str | None = None
    """Names of the arrays that say, case by case, site, patient, and train, validation or test."""
    groups: dict[str, str] = {}
    """Class names merged into new ones, e.g. {normal: harmless, benign: harmless, malignant: malignant}."""


class Folder(Source):
    """A folder a class: `path/<label>/…`, or `path/<site>/<label>/…` where `site_folders` is set."""

    kind: Literal["folder"]
    path: Path | tuple[Path, ...]
    site_folders: bool = False
    frames: Literal["first", "middle", "all"] = "middle"
    groups: dict[str, str] = {}


class Manifest(Source):
    """A CSV with the columns path and label, and where known site, patient, split (train, validation, test), frame."""

    kind: Literal["manifest"]
    path: Path | tuple[Path, ...]
    frames: Literal["first", "middle", "all"] = "middle"
    groups: dict[str, str] = {}


class Encrypted(Source):
    """A data set that `python -m client import` made. Its images are decrypted into memory alone."""

    kind: Literal["encrypted"]
    path: Path | tuple[Path, ...]
    home: Path | None = None
    """The site's folder, whose keys open it; none: the folder two above, where import puts it."""
    frames: Literal["first", "middle", "all"] = "middle"
    """Of a DICOM file with several, where the import was not told which."""
    groups: dict[str, str] = {}


Data = Annotated[Synthetic | Npz | Folder | Manifest | Encrypted, Field(discriminator="kind")]


class Sites(Frozen):
    """How the cases fall to sites, and each site's cases into training, validation and test."""

    split: Literal["natural", "iid", "dirichlet", "size", "scanner"]
    """natural: by the data's own sites. All others are simulated, and every output says so."""
    count: Annotated[int, Field(ge=1, le=1000)] = 5
    alpha: Positive = 0.5
    """Dirichlet concentration over labels (split: dirichlet), or over sizes (split: size)."""
    shift: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """How far simulated scanners differ in gain, blur and noise (split: scanner)."""
    validation: Fraction = 0.15
    test: Fraction = 0.15
    """Shares held out where the data brings no split of its own; by patient."""
    test_on: Literal["own", "common"] = "own"
    """Test every site's models on the site's own test cases, or on one common test set."""

    @model_validator(mode="after")
    def _room_to_train(self) -> "Sites":
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must leave something to train on (below 1)")
        return self


# --- models ---------------------------------------------------------------------------------------------------------


class Cnn(Frozen):
    """A convolutional network (TensorFlow/Keras)."""

    kind: Literal["cnn"]
    architecture: Literal["plain", "groupnorm", "resnet"] = "plain"
    """plain: Conv 32, pool, Conv 64, pool, dense 64, dense softmax. groupnorm: the same widths with group
    normalisation and global pooling. resnet: residual blocks with group normalisation, for images of 224 and more."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class Svm(Frozen):
    """A linear support vector machine, squared hinge, one-vs-rest, on the image or on random Fourier features of it."""

    kind: Literal["svm"]
    features: Literal["identity", "fourier"] = "identity"
    dimension: Annotated[int, Field(ge=2, le=16384)] = 1024
    """Number of random Fourier features."""
    gamma: Positive | None = None
    """Kernel width exp(-gamma |x-y|²); none: 1 / number of inputs."""
    C: Positive = 0.01
    solver: Literal["lbfgs", "gram-lbfgs", "newton"] = "gram-lbfgs"
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """Stop when the relative decrease that the next step can still bring is below this."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Draws the Fourier features, the same at every site; none: the run's seed."""


ModelConfig = Annotated[Cnn | Svm, Field(discriminator="kind")]


# --- training -------------------------------------------------------------------------------------------------------


class Local(Frozen):
    """A site's work in one round."""

    epochs: Positive | None = None
    steps: Count | None = None
    """Exactly one of the two; neither: one epoch."""
    batch: Count = 32
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    """Over the rounds, from learning_rate to nearly nothing."""
    moments: Literal["fresh", "averaged"] = "fresh"
    """Adam's moments: anew each round, or averaged over the sites along with the weights."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    proximal: Annotated[float, Field(ge=0.0)] = 0.0
    """FedProx's μ; used by strategy fedprox."""

    @model_validator(mode="after")
    def _one_measure(self) -> "Local":
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        return self


class Simulated(Frozen):
    """Misfortunes that a simulation adds, drawn from the seed."""

    drop: Fraction = 0.0
    """Probability that a site falls silent in a round."""
    slow: Fraction = 0.0
    """Probability that a site answers after the time-out, and so counts as silent."""
    auditors: Annotated[int, Field(ge=0)] = 0
    """So many of the sites recompute every model from what all sites sent, and answer for no other."""


class Federation(Frozen):
    """The rounds."""

    rounds: Count = 20
    strategy: Literal["fedavg", "fedprox", "scaffold", "fedavgm", "fedadam", "fedyogi"] = "fedavg"
    server_learning_rate: Positive | None = None
    """None: 1 for means and momentum, 0.01 for fedadam and fedyogi."""
    server_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    local: Local = Local()
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the sites asked in each round."""
    quorum: Count = 2
    """Fewer answers than this: the round is void, and the run goes on with the next."""
    timeout_s: Positive = 600.0
    evaluate_every: Count = 1
    select: Literal["loss", "auc", "last"] = "loss"
    """Which summed validation figure chooses the best round; last: the last (for the SVM, which converges)."""
    patience: Count | None = None
    """Stop after so many evaluations without a better one."""
    secure: bool = True
    """Secure aggregation: the coordinator learns sums over more than two thirds of the sites (3 at least), and nothing
    of one of them. Off in a simulation alone, to compare."""
    clip: Positive = 1.0
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
        if self.simulate.auditors and not self.secure:
            raise ValueError("simulate.auditors recompute the masked sums: leave secure on, or auditors at 0")
        return self


class Personalise(Frozen):
    """What a site does with the final model on its own, after the rounds."""

    fine_tune_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    mix: bool = True
    """Mix the logits of the site's own and the federated model; weight from {0, ¼, ½, ¾, 1} by validation log-loss."""


class Training(Frozen):
    """What all sites of a run share; a plan holds it, and the data stay each site's own matter."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)] = (1,)
    preprocess: Steps = ()
    augment: Augment | None = None
    model: ModelConfig
    federation: Federation = Federation()
    likeness: bool = True
    """Gather, as sums, how the training images look in a few characteristics: who uses the model is warned by them of
    images of another kind (docs/sharing.md)."""
    operating_point: Literal["youden", "accuracy"] | Annotated[float, Field(gt=0.0, lt=1.0)] = "youden"
    """Threshold chosen on summed validation counts: best Youden index, best accuracy, or at least this sensitivity."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: every seed once")
        if self.model.kind == "svm" and self.federation.rounds < 3:
            raise ValueError("federation.rounds: the SVM's first two rounds prepare, expected 3 at least")
        if self.model.kind == "svm" and self.federation.fraction < 1:
            raise ValueError("federation.fraction: the SVM's sums need every site each round, expected 1.0")
        return self

    def model_for(self, seed: int) -> Cnn | Svm:
        """The model of one seed's run: random features that are not pinned follow the seed."""
        if isinstance(self.model, Svm) and self.model.seed is None:
            return self.model.model_copy(update={"seed": seed})
        return self.model

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: two runs with one digest are the same run."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class Terms(Frozen):
    """What a plan says beside the training; a simulation has no use for it."""

    dataset: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Under which name every site has its own images in its `site.yaml`."""
    purpose: str = "training"
    """One of those that the consortium's roster allows."""
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    shape: tuple[Count, Count, Count]
    """Of an image after preprocessing: height, width, channels."""
    cohort: tuple[str, ...] = ()
    """The sites that are asked; none: all active members."""
    expires_days: Annotated[float, Field(gt=0.0, le=3650.0)] = 30.0
    """When the plan ends, counted from its signature."""


class Config(Training):
    """One run with its data."""

    data: Data
    sites: Sites
    baselines: tuple[Literal["local", "pooled"], ...] = ("local", "pooled")
    """What federated training is compared with; pooled exists in simulation alone."""
    personalise: Personalise = Personalise()
    cross_site: bool = True
    """In a simulation, run every site's own model, the federated and the pooled one on every site's validation
    cases."""
    plan: Terms | None = None


# --- reading --------------------------------------------------------------------------------------------------------


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, lay `key.key=value` overrides over it, and check all of it.

    Raises:
        ConfigError: naming the file, the key, and what was expected.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read this configuration ({error.strerror}). Examples are in configs/."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file; expected YAML as in configs/demo.yaml.") from None
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as data, sites and model, as in configs/demo.yaml.")
    for override in overrides:
        lay_over(tree, override)
    return of(tree, path)


def of(tree: dict[str, Any], path: Path) -> Config:
    """A configuration from what a file holds; paths in it are relative to the file.

    Raises:
        ConfigError: naming the file, the key, and what was expected.
    """
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(readable(path, error)) from None
    return _with_paths_found(config, path.resolve().parent)


def lay_over(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value is read as YAML, so `seeds=[1,2]` and `federation.rounds=3` both work.

    Raises:
        ConfigError: it is not key=value.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}': expected key=value, for example federation.rounds=3.")
    *parents, last = key.strip().split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"'{override}': {parent} holds a value, not a section.")
    try:
        tree[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"'{override}': the value is not valid YAML.") from None


def readable(path: Path, error: ValidationError) -> str:
    """One line a fault: the key as the user writes it, what is wrong, and the nearest known key."""
    lines = []
    for fault in error.errors():
        key = ".".join(_as_written(fault["loc"])) or "(whole file)"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(fault["loc"][-1]), _KEYS, 1)
            message = "unknown key" + (f"; did you mean '{near[0]}'?" if near else "; see docs/configuration.md")
        elif fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
            named, expected = fault["ctx"]["discriminator"], fault["ctx"].get("expected_tags", "one of the known kinds")
            message = f"{named} is missing or unknown; expected {expected}"
        elif fault["type"] in ("model_type", "model_attributes_type", "dict_type"):
            message = "expected a section: `key: value` lines below it, or {key: value}"
        elif fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float):
            message = f"expected text, got {fault['input']!r}: put it in quotes (YAML reads yes, no and 3 otherwise)"
        elif fault["type"] == "missing":
            message = "missing; it has no default"
        elif "input" in fault and isinstance(fault["input"], str | int | float):
            message += f" (got {fault['input']!r})"
        lines.append(f"  {key}: {message}")
    return f"{path}: {len(lines)} thing{'s' * (len(lines) > 1)} to mend:\n" + "\n".join(dict.fromkeys(lines))


def first_fault(error: ValidationError) -> str:
    """Where the first thing is that is wrong with what a program wrote, and what."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _with_paths_found(config: Config, base: Path) -> Config:
    """Resolve the data paths: relative to the config file, else to the working folder; the first that exists."""
    if isinstance(config.data, Synthetic):
        return config
    paths = config.data.path if isinstance(config.data.path, tuple) else (config.data.path,)
    candidates = [root / p.expanduser() for p in paths for root in (base, Path.cwd())]
    # An encrypted set is known by its name and by the site's folder around it, also where it is a link to another disk.
    settled = Path.absolute if isinstance(config.data, Encrypted) else Path.resolve
    found = next((settled(c) for c in candidates if c.exists()), None)
    if found is None:
        if isinstance(config.data, Npz) and config.data.download:
            target = (base / paths[-1].expanduser()).resolve()
            return config.model_copy(update={"data": config.data.model_copy(update={"path": target})})
        tried = "\n".join(f"  {c}" for c in dict.fromkeys(candidates))
        raise ConfigError(f"data.path: none of these exists:\n{tried}\nGive another with data.path=/where/it/is.")
    update = {"path": found}
    if isinstance(config.data, Encrypted) and config.data.home:
        update["home"] = base / config.data.home.expanduser()
    return config.model_copy(update={"data": config.data.model_copy(update=update)})


def _as_written(location: tuple[int | str, ...]) -> list[str]:
    """A fault's place without the names of kinds and steps, which the file does not have as keys."""
    parts = [str(part) for part in location if part not in _KINDS]
    return [p for i, p in enumerate(parts) if not (i == 2 and parts[0] == "preprocess" and p in _STEPS)]


_STEPS = {get_args(kind.model_fields["step"].annotation)[0] for kind in get_args(get_args(AnyStep)[0])}
_KINDS = {"synthetic", "npz", "folder", "manifest", "encrypted", "cnn", "svm"}
_SECTIONS: tuple[type[BaseModel], ...] = (
    *(Config, Synthetic, Npz, Folder, Manifest, Encrypted, Sites, Cnn, Svm),
    *(Local, Federation, Simulated, Personalise, Augment, Terms),
)
_KEYS = sorted({key for section in _SECTIONS for key in section.model_fields})
