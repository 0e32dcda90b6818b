"""Sections `data` and `sites`: where the cases come from, and how they fall to the sites."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from common.config.section import Fraction, Frozen, Positive

Column = Literal["path", "label", "site", "patient", "split", "frame"]
Splits = dict[str, Literal["train", "validation", "test", "unused"]]


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}); expected one such as patient(\\d+)") from None
    return text


Rule = Annotated[str, Field(min_length=1), AfterValidator(_expression)]
"""A regular expression."""


Word = Annotated[str, Field(pattern=r"^[^|=\n]+$")]


class DataSource(Frozen):
    """What every kind of data source has."""

    labels: tuple[str, ...] = ()
    """Names of the classes in the order of their index; empty: taken from the data, sorted."""
    findings: tuple[Word, ...] = ()
    """Names of findings, of which an image may have several (docs/multilabel.md); empty: an image is of one class."""
    on_error: Literal["stop", "report"] = "stop"
    """An unreadable image or a bad row: stop the run, or leave the case out and list it in the report."""
    cache: Path | None = None
    """Folder for decoded and prepared images; none: `cache/` in the working folder, never inside the data set."""
    cache_gb: Positive = 50.0
    """What a run leaves in that folder at most, beside what it used itself: what was used longest ago goes first."""
    in_memory_mb: Annotated[int, Field(ge=0)] = 512
    """Prepared images that are larger together stay on the disk, and are read a batch at a time; the results are the
    same."""
    spelling: Literal["refuse", "merge", "keep"] = "refuse"
    """Labels, sites or patients that differ in their spelling alone (case, blanks, 1 and 1.0): an error; one and the
    same; or each another."""

    @model_validator(mode="after")
    def _findings_or_classes(self) -> Self:
        if self.findings and (self.labels or getattr(self, "groups", None)):
            raise ValueError("give findings, or labels and groups of classes, not both")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: expected each name once")
        if len(set(self.findings)) != len(self.findings) or len(self.findings) == 1:
            raise ValueError("findings: expected two names at least, each once; of one finding make two classes")
        return self


class WithFindings(DataSource):
    """A data source whose cells or arrays may say of each finding whether it is there."""

    unknown: tuple[Word, ...] = ()
    """What says, beside an empty cell and NaN, that nobody has looked for a finding, e.g. [not read]."""
    uncertain: Literal["refuse", "unknown", "present", "absent"] = "refuse"
    """What an uncertain finding (-1, u, uncertain) counts as: an error, or the one or the other."""


DRAWN = ("opacity", "effusion", "nodule", "large heart", "pacemaker")
"""Findings that the program can draw."""


class Synthetic(DataSource):
    """Radiograph-like phantoms that the program draws itself. Always called synthetic."""

    kind: Literal["synthetic"]
    sites: Annotated[int, Field(ge=1, le=100)] = 5
    cases: Annotated[int, Field(ge=10)] = 200
    """Mean number of cases a site; the sites differ in size."""
    size: Annotated[int, Field(ge=16, le=512)] = 64
    classes: Annotated[int, Field(ge=2, le=4)] = 2
    """Passed over where findings are named: opacity, effusion, nodule, large heart, pacemaker, drawn independently."""
    seed: int = 1

    @model_validator(mode="after")
    def _known_findings(self) -> Self:
        if strange := [name for name in self.findings if name not in DRAWN]:
            raise ValueError(f"findings: no phantom shows '{strange[0]}'; expected some of {', '.join(DRAWN)}")
        return self


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


class Npz(WithFindings):
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
    patients: Rule | None = None
    """A regular expression for what the array patient says, of which only a part names the patient."""
    splits: Splits = Field(default={})
    """What words in the array split mean, e.g. {fold1: train, holdout: test}."""
    groups: dict[str, str] = Field(default={})
    """Class names merged into new ones, e.g. {normal: harmless, benign: harmless, malignant: malignant}."""

    @model_validator(mode="after")
    def _rule_over_something(self) -> "Npz":
        if self.patients and not self.patient:
            raise ValueError("patients is a rule for what an array says; name the array as patient")
        return self


class Folder(DataSource):
    """A folder a class: `path/<label>/…`, or `path/<site>/<label>/…` where `site_folders` is set."""

    kind: Literal["folder"]
    path: Path | tuple[Path, ...]
    site_folders: bool = False
    frames: Literal["first", "middle", "all"] = "middle"
    patients: Rule | None = None
    """A regular expression for paths below the folder: what its groups match names the patient, as "patient(\\d+)"."""
    groups: dict[str, str] = Field(default={})
    splits: Splits = Field(default={})
    """Which part the folders around the classes are, e.g. {fold1: train, holdout: test, old: unused}; train, val, test
    and the like need not be said."""

    @model_validator(mode="after")
    def _no_findings(self) -> Self:
        if self.findings:
            raise ValueError("findings: of an image in one folder no more than one can be said; list them in a CSV")
        return self


class Manifest(WithFindings):
    """A CSV with the columns path and label, and where known site, patient, split (train, validation, test), frame.
    Where findings are named, a column for each (1, 0 or empty), or a column label that lists those present: a|b."""

    kind: Literal["manifest"]
    path: Path | tuple[Path, ...]
    frames: Literal["first", "middle", "all"] = "middle"
    patients: Rule | None = None
    """A regular expression for the column patient, and for paths where there is none: what its groups match names the
    patient, e.g. "patient(\\d+)"."""
    groups: dict[str, str] = Field(default={})
    other_findings: tuple[Word, ...] = ()
    """Words in a list of those present that are passed over, e.g. [No Finding, Hernia]."""
    columns: dict[Column, str] = Field(default={})
    """What the CSV calls a column, e.g. {path: file name, label: diagnosis}."""
    splits: Splits = Field(default={})
    """What words in the column split mean, e.g. {fold1: train, holdout: test, old: unused}."""
    encoding: str | None = None
    """Of the CSV, e.g. cp1250 or utf-16-le; none: UTF-8, what its first bytes say, else Windows-1252 with a remark."""


class Encrypted(DataSource):
    """A data set that `python -m client import` made. Its images are decrypted into memory alone."""

    kind: Literal["encrypted"]
    path: Path | tuple[Path, ...]
    home: Path | None = None
    """The site's folder, whose keys open it; none: the folder two above, where import puts it."""
    frames: Literal["first", "middle", "all"] = "middle"
    """Of a DICOM file with several, where the import was not told which."""
    groups: dict[str, str] = Field(default={})


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
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    """In so many folds, by patient, every case is a test case once, and each fold is a training of its own; 0: a share
    is held out once."""
    seed: int | tuple[int, ...] | None = None
    """Of the split, apart from that of training; several: a training for each. None: by the run's seeds."""
    near_duplicates: Annotated[float, Field(ge=0.8, le=1.0)] | Literal[False] = 0.95
    """From which correlation of their thumbnails on two images count as one, which is kept on one side; false: not
    looked for (docs/data.md)."""
    test_on: Literal["own", "common"] = "own"
    """Test every site's models on the site's own test cases, or on one common test set."""
    unlabelled: dict[str, tuple[str, ...]] = Field(default={})
    """Findings that nobody has looked for at a site, e.g. {site-4: [nodule]}: a simulation takes its labels away."""

    @model_validator(mode="after")
    def _room_to_train(self) -> "Sites":
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must leave something to train on (below 1)")
        if self.folds == 1:
            raise ValueError("folds: one fold leaves nothing to train on, expected 2 at least, or 0")
        return self
