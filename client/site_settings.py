"""What a hospital's engineer writes into `site.yaml`: its name, its data sets, and what it agrees to."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from common import config as configuration
from common.catalogue.offers import DatasetDescription, Origin
from common.config import Data, Frozen, Sites, Synthetic
from common.errors import ConfigError
from common.notices.notice_settings import Notices
from common.plans.floors import Floors
from common.storage import tensorfile
from common.trust.enrolment import PURPOSE

OPEN_LICENCES = (
    "Apache-2.0", "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "ISC", "Zlib", "Unlicense",
    "0BSD", "BSL-1.0", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0",
)  # fmt: skip
"""Licences that let anybody use a work for anything; terms for research alone are none of them."""


class SiteDataset(Frozen):
    """One data set of this hospital."""

    data: Data
    sites: Sites = Sites(split="natural")
    """How the cases fall to training, validation and test."""
    take: str | None = None
    """Only the cases of this site in the data; needed where the data have several."""
    about: DatasetDescription | None = None
    """What the catalogue says of it, if it is offered there: `client catalogue offer NAME`."""

    @property
    def origin(self) -> Origin:
        """What it is, whatever anybody says of it."""
        if isinstance(self.data, Synthetic):
            return "synthetic"
        return "hospital" if self.sites.split == "natural" or self.sites.count == 1 else "simulated"


class PrivacyRule(Frozen):
    """What all plans together may tell of one patient: (ε, δ), over every run on this hospital's images."""

    epsilon: Annotated[float, Field(gt=0.0, le=100.0)]
    delta: Annotated[float, Field(gt=0.0, le=0.01)] = 1e-5
    required: bool = False
    """Whether a plan without a budget, which bounds nothing, is refused."""


class SiteRules(Frozen):
    """What this hospital agrees to."""

    plans: Literal["ask", "refuse", "approve"] = "ask"
    purposes: tuple[str, ...] = (PURPOSE,)
    audit: bool | None = None
    """Of older releases, without effect: every site recomputes every model of a run, and answers for no other."""
    least: Floors = Floors()
    """How many cases a sum must have; the data officer raises or lowers it."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The least `federation.fraction` of a plan: with all sites asked, more than two thirds stand behind each sum."""
    encoder_licences: tuple[str, ...] = OPEN_LICENCES
    """Licences of the encoders that may look at images here, as their description has them; `*`: any."""
    privacy: PrivacyRule | None = None
    """The budget of each patient; none: each plan's own alone."""
    runs_at_once: Annotated[int, Field(ge=1, le=100)] = 4
    """How many runs may go on here at once; their questions are answered one after the other. Each keeps its images in
    memory."""
    publish: tuple[Literal["figures"], ...] = ()
    """What of this site alone may leave it: `figures`, its counts in an evaluation. Nothing else ever does."""


class ProxySettings(Frozen):
    """The proxy on the way to the coordinator; what lies in the hospital (archives, mail) is reached without."""

    url: Annotated[str, Field(pattern=r"^http://[^/@?#\s]+$")]
    """As `http://proxy.hospital.example:3128`."""
    user: Annotated[str, Field(min_length=1)] | None = None
    password: Path | None = None
    """A file of mode 600 with the password of `user`."""


class SiteSettings(Frozen):
    """What an engineer writes into `site.yaml`."""

    site: Annotated[str, Field(min_length=1)]
    datasets: dict[str, SiteDataset] = Field(default_factory=dict)
    policy: SiteRules = SiteRules()
    notices: Notices = Notices()
    proxy: ProxySettings | None = None
    """None: that of the environment, if it names one."""


@lru_cache(maxsize=8)
def read(path: Path, text: bytes) -> SiteSettings:
    """The settings in a file, read once: every message asks for them.

    Raises:
        ConfigError: naming the file and the key.
    """
    try:
        return SiteSettings.model_validate(configuration.parse_yaml(text, path))
    except ValidationError as error:
        raise ConfigError(configuration.readable(path, error, SiteSettings)) from None


def dataset_lines(name: str) -> str:
    """How a data set in custody stands under `datasets`."""
    return f"  {name}:\n    data: {{kind: encrypted, path: sets/{name}}}\n"


def enter_dataset(path: Path, name: str) -> bool:
    """Add a data set in custody to the file, whose other lines stay as they are; False where they cannot be told.

    What comes out is read again before it is written: it differs from what was there by this data set alone.

    Raises:
        ConfigError: the file is no such settings.
    """
    text = path.read_text(encoding="utf-8")
    before, lines = read(path, text.encode()), dataset_lines(name)
    pattern, entry = r"^datasets:[ \t]*(\{\})?[ \t]*(#.*)?$\n?", f"datasets:\n{lines}"
    after = re.sub(pattern, lambda _: entry, text, count=1, flags=re.MULTILINE)
    if not re.search(r"^datasets:", text, re.MULTILINE):
        after = text.rstrip("\n") + "\n\n" + entry
    try:
        settings = read(path, after.encode())
    except ConfigError:
        return False
    others = {key: dataset for key, dataset in settings.datasets.items() if key != name}
    if name not in settings.datasets or settings.model_copy(update={"datasets": others}) != before:
        return False
    tensorfile.write_atomically(path, after.encode(), mode=path.stat().st_mode & 0o777)
    return True
