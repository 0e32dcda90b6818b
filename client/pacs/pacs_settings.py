"""Which archives a site has, and how each is reached: `pacs.yaml` of the site's folder. No secret stands in it."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from common import config as configuration
from common.config import Frozen
from common.errors import ConfigError
from common.storage import tensorfile
from common.storage.secret_files import check_private

FILE = "pacs.yaml"
Title = Annotated[str, Field(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""An application entity title (PS3.5, AE): 16 characters of ASCII, no backslash."""
Port = Annotated[int, Field(ge=1, le=65535)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class DimsePacs(Frozen):
    """An archive that is asked by C-FIND and C-MOVE, and sends to a receiver of this site."""

    kind: Literal["dimse"] = "dimse"
    ae: Title
    host: str
    port: Port
    our_ae: Title
    our_port: Port = 11112
    """Where this site listens while it pulls."""
    listen: str = "0.0.0.0"  # noqa: S104 (the archive is another machine; who may send is listed)
    senders: tuple[Title, ...] = ()
    """AE titles that may send, beside the archive's own."""
    tls_ca: Path | None = None
    """The authority of the archive's certificate; with it everything goes over TLS."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    timeout_s: Timeout = 30.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) and not all(files):
            raise ValueError("TLS needs three files: --tls-ca, --tls-cert and --tls-key")
        return self

    @property
    def address(self) -> str:
        """What a policy names it by."""
        return f"{self.ae}@{self.host}:{self.port}"

    def client_context(self) -> ssl.SSLContext | None:
        """For connections to the archive; None: without TLS."""
        if self.tls_ca is None:
            return None
        context = ssl.create_default_context(cafile=_there(self.tls_ca))
        self._show_ours(context)
        return context

    def server_context(self) -> ssl.SSLContext | None:
        """For what the archive sends: only who has a certificate of the same authority may."""
        if self.tls_ca is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=_there(self.tls_ca))
        context.verify_mode = ssl.CERT_REQUIRED
        self._show_ours(context)
        return context

    def _show_ours(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.tls_cert and self.tls_key:
            check_private(self.tls_key, "a private key")
            try:
                context.load_cert_chain(_there(self.tls_cert), _there(self.tls_key))
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or type(error).__name__
                raise ConfigError(f"{self.tls_cert}: no certificate in PEM with its key ({reason}).") from None


class DicomWebPacs(Frozen):
    """An archive that is asked over DICOMweb (PS3.18)."""

    kind: Literal["dicomweb"] = "dicomweb"
    url: str
    token_file: Path | None = None
    basic_file: Path | None = None
    """One line, `user:password`."""
    tls_ca: Path | None = None
    """The authority of its certificate; none: those of the system."""
    timeout_s: Timeout = 30.0

    @model_validator(mode="after")
    def _sound(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url}: expected the address of the service, like https://pacs.hospital/dicom-web")
        if parts.username or parts.password:
            raise ValueError("a password in the address: put `user:password` into a file, and name it by --basic-file")
        if self.token_file and self.basic_file:
            raise ValueError("--token-file or --basic-file, and not both")
        if (self.token_file or self.basic_file) and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError(f"{self.url}: a secret would go over the network in the clear; expected https")
        return self

    @property
    def address(self) -> str:
        """What a policy names it by."""
        return self.url.rstrip("/")

    def client_context(self) -> ssl.SSLContext:
        """For connections to the archive."""
        context = ssl.create_default_context(cafile=_there(self.tls_ca) if self.tls_ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


PacsSettings = Annotated[DimsePacs | DicomWebPacs, Field(discriminator="kind")]
_ALL: TypeAdapter[dict[str, PacsSettings]] = TypeAdapter(dict[str, PacsSettings])


def _there(path: Path | None) -> str:
    if path is None or not path.is_file():
        raise ConfigError(f"{path}: there is no such file; expected a certificate or key in PEM. See {FILE}.")
    return str(path)


def read_all(home: Path) -> Mapping[str, DimsePacs | DicomWebPacs]:
    """The archives of a site, by name.

    Raises:
        ConfigError: naming file and key.
    """
    path = home / FILE
    try:
        return _ALL.validate_python(configuration.parse_yaml(path.read_bytes(), path) or {})
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}") from None


def read_one(home: Path, name: str) -> DimsePacs | DicomWebPacs:
    """One archive.

    Raises:
        ConfigError: there is none of this name.
    """
    if (settings := (every := read_all(home)).get(name)) is None:
        names = ", ".join(every) or "none"
        raise ConfigError(f"{name}: no such PACS in {home / FILE} (there: {names}). Add it: python -m client pacs add")
    return settings


def write_one(home: Path, name: str, settings: DimsePacs | DicomWebPacs) -> Path:
    """Add an archive, or put another in its place; the file."""
    every = dict(read_all(home)) | {name: settings}
    tree = {
        each: one.model_dump(mode="json", exclude_defaults=True) | {"kind": one.kind} for each, one in every.items()
    }
    path = home / FILE
    tensorfile.write_atomically(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode())
    return path


def parse_settings(tree: Mapping[str, object]) -> DimsePacs | DicomWebPacs:
    """Settings from what was typed.

    Raises:
        ConfigError: they cannot be.
    """
    try:
        return _ALL.validate_python({"": dict(tree)})[""]
    except ValidationError as error:
        raise ConfigError(f"pacs add: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    one = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in one["loc"] if part not in ("", "dimse", "dicomweb"))
    return f"{place}: {one['msg']}".removeprefix(": ").replace("Value error, ", "")
