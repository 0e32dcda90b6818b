"""A hospital's folder: its keys, its settings, and what it pinned when it joined a consortium.

site.yaml            name, data sets, policy; the one file that its engineer edits (client/site_settings.py)
identity, node       private keys, made here; they never leave
pins.json, roster, authority.crt, address      pinned when the site joined
address.moved        the roots' word for that address, where the coordinator has moved
roots/               the changes of the consortium's roots since then
accepted-keys        other members' new keys that a data officer accepted; roster.refused waits for that
ledger, ledger.key   what it has ever answered, and over whom; what hides which images they were
ledger.images        under which name each image was first approved with
plans/DIGEST/        plan.json, decision.json, and what the site keeps of that run; its `state` is sealed
privacy/             what the patients have paid, answer by answer (`client.privacy`)
published/           an empty file for every model of which this site has published its figures
restored             since when this folder goes on from a backup: no plan from before is answered
journal/             a message that is being answered
resident.json        what the resident process is doing
pacs.yaml            the hospital's image archives, and how each is reached; no secret
access/, me.key      who may do what here, and the key of who made the site
audit/               what was done here, and the key that signs for it
witness/             what was seen of the coordinator's log
release.json         which release worked here last (`common.trust.folder_release`)
catalogue/           the catalogue as it was seen last, and what this site offers in it
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import site_settings
from client.admission import Admission
from client.site_settings import SiteSettings
from common.audit.log import Log
from common.errors import ConfigError, PolicyError
from common.storage import tensorfile
from common.storage.files import read_json, write_json
from common.trust.enrolment import Enrolment, keep_root_change, pins_in_force, root_changes
from common.trust.rekey import read_rekey, refuse_swapped_keys
from common.trust.root_change import RootChange
from common.trust.roster import Pins, Roster, load_verified_roster


@dataclass(frozen=True)
class SiteFolder:
    """A site's folder without its keys: where things are, its settings, its log, and what it pinned."""

    folder: Path

    @staticmethod
    def at(folder: Path) -> "SiteFolder":
        """The folder of a site.

        Raises:
            ConfigError: if there is none, saying how it is made.
        """
        home = SiteFolder(folder)
        _ = home.settings
        return home

    # --- its own ---

    def places(self, path: Path) -> tuple[Path, Path]:
        """Where a path of `site.yaml` may lie: beside it, or where the program was started."""
        return self.folder / path.expanduser(), Path.cwd() / path.expanduser()

    @property
    def settings(self) -> SiteSettings:
        """What `site.yaml` says.

        Raises:
            ConfigError: naming the file and the key.
        """
        path = self.folder / "site.yaml"
        try:
            return site_settings.read(path, path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(
                f"{self.folder}: no site.yaml. Make this site's folder with `python -m client init NAME`, or name it "
                "with --home."
            ) from None

    @property
    def site(self) -> str:
        """The site's name."""
        return self.settings.site

    @property
    def log(self) -> Log:
        """What was done here."""
        return Log(self.folder / "audit", f"site {self.site}")

    # --- what it pinned ---

    @property
    def has_joined(self) -> bool:
        """Whether a welcome has been pinned."""
        return (self.folder / "address").exists()

    @property
    def address(self) -> str:
        """The gateway's host:port.

        Raises:
            ConfigError: before the site has joined.
        """
        try:
            return (self.folder / "address").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise ConfigError(
                f"{self.folder}: this site has not joined a consortium. Send the coordinator {self.site}.request, and "
                "use what comes back: python -m client join FILE."
            ) from None

    @property
    def authority(self) -> Path:
        """The one TLS authority that is trusted."""
        return self.folder / "authority.crt"

    @property
    def pins(self) -> Pins:
        """The consortium's roots, whose signatures count."""
        return pins_in_force(self.folder)

    @property
    def roster(self) -> Roster:
        """The newest roster that this site has seen."""
        return self.pins.load_kept(load_verified_roster, (self.folder / "roster").read_bytes())

    @property
    def root_changes(self) -> list[RootChange]:
        """The changes of the roots that this site knows, in their order."""
        return root_changes(self.folder, self.pins.federation)

    def take_root_changes(self, files: Sequence[bytes]) -> None:
        """Keep every change of the roots that leads on from what is known here; one that does not is passed over.

        Raises:
            IdentityError: a root has not signed one, old or new.
            WireError: it is none.
        """
        pins = self.pins
        for change in sorted((RootChange.load_verified(f, pins.federation) for f in files), key=lambda c: c.number):
            by_number = {c.number: c for c in self.root_changes}
            before = by_number.get(change.number - 1)
            number, roots = (before.number, before.new) if before else (pins.changes, pins.roots)
            if change.number not in by_number and (number + 1, roots) == (change.number, change.old):
                keep_root_change(self.folder, change)
                self.log.record("roots change", facts={"number": change.number, "new": change.words[1]})

    def take_roster(self, file: bytes, rekeys: Sequence[bytes] = ()) -> Roster:
        """Keep a roster if it is newer than the one that is there.

        Args:
            rekeys: what old keys of members said of their new ones.

        Raises:
            IdentityError: if a pinned root has not signed it.
            PolicyError: if it is another consortium's; `swapped-key`, if a member has another key without the old
                one's word: it is put beside the roster then, for `accept_key`.
        """
        new, path, before = load_verified_roster(file, self.pins), self.folder / "roster", self.roster
        if new.version <= before.version:
            return before
        try:
            refuse_swapped_keys(before, new, map(read_rekey, rekeys), self.accepted_keys, self.site)
        except PolicyError:
            tensorfile.write_atomically(self.refused_roster, file)
            raise
        tensorfile.write_atomically(path, file)
        self.refused_roster.unlink(missing_ok=True)
        return new

    @property
    def refused_roster(self) -> Path:
        """A newer roster that gives a member another key, until it is taken."""
        return self.folder / "roster.refused"

    @property
    def accepted_keys(self) -> dict[str, bytes]:
        """New keys of other members that people here accepted, by site."""
        return {site: bytes.fromhex(key) for site, key in (read_json(self.folder / "accepted-keys") or {}).items()}

    def accept_key(self, site: str, key: bytes) -> None:
        """Accept a member's new key, which its old one has not signed."""
        every = self.accepted_keys | {site: key}
        write_json(self.folder / "accepted-keys", {name: value.hex() for name, value in every.items()})

    @property
    def resident(self) -> Path:
        """What the resident process says of itself, every ten seconds."""
        return self.folder / "resident.json"

    @property
    def witness_refused(self) -> Path:
        """What of the coordinator's log did not fit what was seen before; while it is there, no plan is answered."""
        return self.folder / "witness" / "refused"


@dataclass(frozen=True)
class Home(SiteFolder):
    """A site's folder with its keys, for whoever was let in."""

    admission: Admission

    def __post_init__(self) -> None:
        self.admission.demand(self.folder)

    def copied_to(self, folder: Path) -> "Home":
        """The same site in another folder, which the command that was let in has written from this one's backup."""
        return Home(folder, self.admission.for_copy(folder))

    @property
    def enrolment(self) -> Enrolment:
        """The site's membership of a consortium, with the keys that prove it."""
        return replace(Enrolment.read(self.settings.site, self.folder), audit=True)

    @property
    def identity(self) -> Ed25519PrivateKey:
        """The key that signs what the site says, before it joined as well."""
        return _identity(self.folder / "identity")

    @property
    def node_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that its messages pass the gateway with."""
        path = self.folder / "node"
        try:
            key = serialization.load_ssh_private_key(path.read_bytes(), None)
        except (OSError, ValueError):
            raise ConfigError(f"{path}: no OpenSSH private key. Begin this site again: client init.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{path}: expected an ECDSA key. Begin this site again: client init.")
        return key


def home_option(parser: argparse.ArgumentParser) -> None:
    """The option `--home`, of every command of a site."""
    parser.add_argument("--home", type=Path, default=Path("site"), metavar="DIR", help="the site's folder (site)")


def _identity(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise ConfigError(f"{path}: no key of 64 hexadecimal digits. Make this site with `client init`.") from None
