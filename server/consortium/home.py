"""The coordinator's folder: everything that a consortium is made of, in files that people can look at.

consortium.yaml      name, address, ports
root.key             signs rosters and plans; may lie elsewhere (--root), the running processes do not need it
pending/             what waits for the signatures of other roots (server/consortium/signing.py)
tls/                 the consortium's own TLS authority and the gateway's certificate
roots/               changes of who signs, each signed by all old and all new roots
pins.json, roster    who signs, and the signed list of members; rosters/ has every version
sites/NAME.json      what each site was admitted with
address.json         the roots' word for the address, where the gateway has moved
rekeys/              the word of members' old keys for their new ones
runs/NAME/           plan.json, state.json, decisions/, checkpoint, model, result, events, log
accounts/NAME.json   what each site says that its patients have paid (`server.consortium.site_accounts`)
audit/               what was done here, and the key that signs for it; voucher: the roots' word for that key
live/                what the running processes keep: SuperLink's database, sockets, logs
backup.key           what backups of this folder are sealed under; restored.json: it was made again from one
release.json         which release worked here last (`common.trust.folder_release`); before-RELEASE/ what it changed
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from pydantic import Field, ValidationError, model_validator

from common import config as configuration
from common.audit.log import Log
from common.config import Frozen
from common.errors import ConfigError
from common.notices.notice_settings import Notices
from common.trust.enrolment import Consortium, pins_in_force, root_changes
from common.trust.joining import ADDRESS, JoinRequest
from common.trust.keys import public_of
from common.trust.root_change import RootChange, next_change
from common.trust.roster import Pins, Roster, load_verified_roster
from server.consortium import root_key

Port = Annotated[int, Field(ge=1, le=65535)]


class ConsortiumSettings(Frozen):
    """What `consortium.yaml` says: name, address, ports."""

    consortium: str
    address: Annotated[str, Field(pattern=ADDRESS)]
    """host:port at which sites reach the gateway."""
    listen: str = "0.0.0.0"  # noqa: S104 the gateway is the one process that is meant to be reached
    """The gateway's address on this machine."""
    port: Port = 8443
    """The gateway's port on this machine."""
    superlink_port: Port = 18000
    """Flower's own API, on loopback alone."""
    notices: Notices = Notices()
    """Who is told what expires, which run waits or fails, and which site was not heard for a day."""

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.port == self.superlink_port:
            raise ValueError(f"port and superlink_port are both {self.port}; expected two that differ")
        return self

    @property
    def host(self) -> str:
        """Of the address, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def own_host(self) -> str:
        """Where the gateway answers to this machine itself."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.listen, self.listen)  # noqa: S104 compared, not listened on

    def to_yaml(self) -> bytes:
        """As `consortium.yaml` says it."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False).encode()

    @classmethod
    def parse(cls, content: object) -> Self:
        """From what a file or a command line says.

        Raises:
            ConfigError: naming the key.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ConfigError(configuration.readable(Path("consortium.yaml"), error, cls)) from None


@dataclass(frozen=True)
class Home:
    """The coordinator's folder: paths, keys, who is a member."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The folder of a consortium.

        Raises:
            ConfigError: if there is none, saying how it is made.
        """
        home = cls(folder)
        _ = home.settings
        return home

    @property
    def settings(self) -> ConsortiumSettings:
        """What `consortium.yaml` says.

        Raises:
            ConfigError: if there is no consortium here, or the file has a fault.
        """
        path = self.folder / "consortium.yaml"
        try:
            return ConsortiumSettings.parse(configuration.parse_yaml(path.read_bytes(), path))
        except FileNotFoundError:
            raise ConfigError(
                f"{self.folder}: no consortium.yaml. Make a consortium with `python -m server init`, or name its "
                "folder with --home."
            ) from None

    @property
    def pins(self) -> Pins:
        """The roots' public keys."""
        return pins_in_force(self.folder)

    @property
    def root_changes(self) -> list[RootChange]:
        """All changes of the roots, in their order."""
        return root_changes(self.folder, self.pins.federation)

    @property
    def consortium(self) -> Consortium:
        """The roster as signed, with the pins.

        Raises:
            ConfigError: there is none yet, or it is damaged.
        """
        if not (self.folder / "roster").exists() and (self.folder / "pending").is_dir():
            raise ConfigError(
                f"{self.folder}: the first roster waits for the roots' signatures: python -m server pending"
            )
        return Consortium.read(self.folder)

    @property
    def roster(self) -> Roster:
        """The current roster."""
        consortium = self.consortium
        return consortium.pins.load_kept(load_verified_roster, consortium.roster)

    @property
    def authority(self) -> Path:
        """The TLS authority's certificate."""
        return self.folder / "tls" / "ca.crt"

    @property
    def moved(self) -> Path:
        """The roots' word for the address that the gateway has moved to."""
        return self.folder / "address.json"

    @property
    def log(self) -> Log:
        """The audit log: what was done at this coordinator."""
        return Log(self.folder / "audit", f"consortium {self.pins.federation}")

    @property
    def voucher(self) -> Path:
        """The roots' word for the key of that log."""
        return self.folder / "audit" / "voucher"

    @property
    def live(self) -> Path:
        """Where the running processes keep what they have."""
        return self.folder / "live"

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Public keys of all who have to sign; until a change of the roots is in force, the old and the new."""
        change = next_change(pins := self.pins, self.root_changes)
        return change.signers if change else pins.roots

    def root_keys(self, *elsewhere: Path) -> list[Ed25519PrivateKey]:
        """The root keys at hand: those named, else the one in the folder; none, if the consortium has several.

        Raises:
            ConfigError: a file is not there, or not of a root of this consortium, or one is named twice.
            IdentityError: a wrong passphrase.
        """
        key_file = self.folder / "root.key"
        paths = elsewhere or ((key_file,) if key_file.exists() or len(self.signers) == 1 else ())
        keys = [root_key.load(path) for path in paths]
        for path, key in zip(paths, keys, strict=True):
            if public_of(key) not in self.signers:
                raise ConfigError(f"{path}: is not this consortium's root key. Name the right file with --root.")
        if len(set(map(public_of, keys))) < len(keys):
            raise ConfigError("--root: the same root key twice. Name each once.")
        return keys

    def welcome(self, site: str) -> Path:
        """What is sent to a site that was admitted."""
        return self.folder / "welcomes" / f"{site}.welcome"

    def rekeys(self) -> list[bytes]:
        """What old keys of members said of their new ones."""
        return [path.read_bytes() for path in sorted((self.folder / "rekeys").glob("*.json"))]

    def requests(self) -> dict[str, JoinRequest]:
        """What every site was admitted with, by name; suspended ones too."""
        files = sorted((self.folder / "sites").glob("*.json"))
        return {path.stem: JoinRequest.read(path.read_bytes()) for path in files}

    # --- the gateway's `Membership` ---

    def identities(self) -> dict[str, bytes]:
        """Ed25519 public keys of the active members."""
        return dict(self.roster.active)

    def nodes(self) -> dict[bytes, str]:
        """Sites by their node's public key, as Flower's header has it; active members alone."""
        active = self.roster.active
        return {
            raw_node_key(request.node): site
            for site, request in self.requests().items()
            if active.get(site) == request.identity
        }


def raw_node_key(openssh: str) -> bytes:
    """A node's public key as Flower sends it: DER within PEM."""
    key = load_ssh_public_key(openssh.encode())
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
