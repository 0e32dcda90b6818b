"""What a site knows since it joined a consortium: its own key, and the roots' keys that it pinned.

A simulation makes up a consortium in memory, for one run; a hospital has a folder of its own:

    identity     its Ed25519 key, hexadecimal; made at the site, and never leaves it
    pins.json    {"federation": …, "roots": [public keys, hexadecimal], "changes": how many led to these}
    roots/       the changes of the roots since then, signed (`common.trust.root_change`)
    state        what secure aggregation must not forget, sealed
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ConfigError, WireError
from common.storage.files import write_json
from common.storage.tensorfile import write_atomically
from common.trust.keys import derive, public_of
from common.trust.root_change import RootChange, follow
from common.trust.roster import MAX_SITES, MIN_COHORT, ConsortiumPolicy, Member, Pins, Roster, load_verified_roster

if TYPE_CHECKING:
    from common.config import Federation

PURPOSE = "training"
_SIMULATED_FOR_S = 10 * 365 * 86_400


@dataclass(frozen=True)
class Enrolment:
    """What makes a site a member: its name, its key, and the roots' keys that it pinned."""

    site: str
    secret: bytes = field(repr=False)
    """32 bytes: the private half of the identity."""
    pins: Pins
    audit: bool = False
    """The site recomputes every model of a run from all that the sites sent, and answers for no other."""

    @property
    def identity(self) -> Ed25519PrivateKey:
        """The site's signing key."""
        return Ed25519PrivateKey.from_private_bytes(self.secret)

    @property
    def sealing_key(self) -> bytes:
        """What seals the state on the site's disk."""
        return derive(self.secret, b"", b"sealing")

    @classmethod
    def read(cls, site: str, folder: Path) -> Self:
        """Read a hospital's enrolment from its folder.

        Raises:
            ConfigError: naming the file that is missing or damaged.
        """
        path = folder / "identity"
        try:
            secret = bytes.fromhex(path.read_text(encoding="utf-8"))
            Ed25519PrivateKey.from_private_bytes(secret)
            return cls(site, secret, pins_in_force(folder))
        except (OSError, ValueError, UnicodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "64 hexadecimal digits were expected"
            raise ConfigError(f"{path}: {what}. It is made when a site joins the consortium.") from None


@dataclass(frozen=True)
class Consortium:
    """Who may take part, as the coordinator has it: it knows no site's secret."""

    roster: bytes
    """The signed file, as it came."""
    pins: Pins

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the consortium from `roster` and `pins.json` in a folder.

        Raises:
            ConfigError: naming the file that is missing or damaged.
            IdentityError: for a roster that the roots have not signed.
        """
        pins, path = pins_in_force(folder), folder / "roster"
        try:
            pins.load_kept(load_verified_roster, roster := path.read_bytes())
        except (OSError, WireError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{path}: {what}. Expected the consortium's signed roster.") from None
        return cls(roster, pins)


def read_pins(path: Path) -> Pins:
    """The roots' keys that were pinned.

    Raises:
        ConfigError: naming the file, if it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        roots = tuple(bytes.fromhex(root) for root in value["roots"])
        return Pins(str(value["federation"]), roots, int(value.get("changes", 0)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = error.strerror if isinstance(error, OSError) else 'expected {"federation": …, "roots": [hexadecimal]}'
        raise ConfigError(f"{path}: {what}. It is made when a site joins the consortium.") from None


def write_pins(path: Path, pins: Pins) -> None:
    """Write the roots' keys, for `read_pins`."""
    fields = {"federation": pins.federation, "roots": [root.hex() for root in pins.roots], "changes": pins.changes}
    write_json(path, fields)


def root_changes(folder: Path, federation: str) -> list[RootChange]:
    """The changes of the roots that a folder has, all signed by old and new; in their order."""
    files = sorted((folder / "roots").glob("*.json"))
    return [RootChange.load_verified(path.read_bytes(), federation) for path in files]


def keep_root_change(folder: Path, change: RootChange) -> None:
    """Keep a change that was verified."""
    write_atomically(folder / "roots" / f"{change.number:06d}.json", change.document.encode())


def pins_in_force(folder: Path) -> Pins:
    """The roots whose signatures count now: those that were pinned, and every change since that is in force.

    Raises:
        ConfigError, IdentityError, WireError: naming what is missing or damaged.
    """
    pins = read_pins(folder / "pins.json")
    return follow(pins, root_changes(folder, pins.federation), time.time())


def simulated_consortium(
    sites: Sequence[str], plan: "Federation", seed: bytes | None = None
) -> tuple[Consortium, dict[str, Enrolment]]:
    """Make keys and a signed roster for a consortium of simulated sites, in memory.

    Args:
        seed: the same bytes make the same keys, so that a simulation that is resumed is still the same consortium;
            none: fresh ones. They protect nothing: all sites of a simulation belong to the same person.

    Raises:
        ConfigError: for fewer than 3 sites or more than 200.
    """
    if not MIN_COHORT <= len(sites) <= MAX_SITES:
        raise ConfigError(
            f"federation.secure: there are {len(sites)} sites, expected {MIN_COHORT} to {MAX_SITES}: a sum over fewer "
            "than 3 would tell them each other's numbers. In a simulation, switch it off with federation.secure=false."
        )
    seed = seed or os.urandom(32)
    root = Ed25519PrivateKey.from_private_bytes(derive(seed, b"", b"simulated root"))
    names = sorted(sites)
    secrets = {site: derive(seed, site.encode(), b"simulated site") for site in names}
    keys = {site: Ed25519PrivateKey.from_private_bytes(secret) for site, secret in secrets.items()}
    policy = ConsortiumPolicy(MIN_COHORT, plan.clip, plan.weight_bound, (PURPOSE,))
    members = tuple(Member(site, public_of(key)) for site, key in keys.items())
    pins = Pins("simulation", (public_of(root),))
    roster = Roster("simulation", 1, int(time.time()) + _SIMULATED_FOR_S, policy, members)
    auditors = names[: plan.simulate.auditors]
    enrolments = {site: Enrolment(site, secrets[site], pins, audit=site in auditors) for site in names}
    return Consortium(roster.sign([root]), pins), enrolments
