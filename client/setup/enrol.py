"""A site's way into a consortium: make its keys here, send its request, pin the welcome that comes back."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.access.policy_change import begin_policy as first_policy
from client.access.policy_change import person_name
from client.access.policy_store import policy_store
from client.home import Home, SiteFolder
from common.config import Config
from common.errors import ConfigError, IdentityError, PolicyError
from common.storage import tensorfile
from common.storage.files import write_secret
from common.trust.enrolment import write_pins
from common.trust.joining import JoinRequest, Welcome, checked_name

OPENING = """# This hospital's own settings. Nothing of this file leaves the hospital.
site: {site}

# Under which name a plan asks for which images: docs/data.md has all kinds of sources.
"""
NO_IMAGES = """datasets: {}  # take this line away, and the # off those below
#datasets:
#  chest-xray:
#    data: {kind: manifest, path: /images/chest/list.csv, labels: [normal, pneumonia]}
#    sites: {split: natural, validation: 0.15, test: 0.15}
"""
POLICY = """
policy:
  plans: ask            # ask: each plan waits for `python -m client approve`; refuse: none; approve: all that fit
  purposes: [training]  # a plan for any other purpose is refused
"""

Keys = tuple[Ed25519PrivateKey, ec.EllipticCurvePrivateKey]
"""A site's identity, and its node's key."""


def begin(home: SiteFolder, site: str, contact: str, rehearse: Config | None = None, person: str = "") -> JoinRequest:
    """Make the site's keys and its request, and a policy in which one person may do everything.

    Args:
        rehearse: a configuration with a plan, of whose simulated sites this one plays the part of its name.
        person: that person's name; empty: the system user's.

    Raises:
        ConfigError: where a site is already, or for a name that cannot be used.
    """
    checked_name(site, "NAME")
    person_name(person)
    if (home.folder / "identity").exists():
        raise ConfigError(
            f"{home.folder}: there is a site here already. Its request can be written again with "
            "`python -m client rekey`, which makes new keys; or give another folder with --home."
        )
    request = JoinRequest.write(site, contact, *(keys := _new_keys()))
    if not (home.folder / "site.yaml").exists():
        text = OPENING.format(site=site) + (_part_in(rehearse, site) if rehearse else NO_IMAGES) + POLICY
        home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tensorfile.write_atomically(home.folder / "site.yaml", text.encode())
    if not policy_store(home).exists:
        first_policy(home, person)
    return _with_new_keys(home, request, keys)


def rekey(home: Home, contact: str) -> JoinRequest:
    """Put the site's keys aside, with what secure aggregation keeps under them, and make new ones.

    Raises:
        ConfigError: where there is no site, or for a contact that cannot be used; nothing has changed then.
    """
    try:
        before = home.identity
    except ConfigError:  # lost: other sites will want to be asked (`accept-key`)
        before = None
    request = JoinRequest.write(home.site, contact, *(keys := _new_keys()), before)
    (old := home.folder / "old").mkdir(mode=0o700, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%dT%H%M%S-"), dir=old))
    for name in ("identity", "node", "state", "journal"):
        if (home.folder / name).exists():
            (home.folder / name).rename(aside / name)
    return _with_new_keys(home, request, keys)


def join(home: Home, welcome: Welcome) -> None:
    """Pin a welcome; a newer roster than the one in it stays.

    Raises:
        IdentityError: if it is for another site, or other keys, or of another consortium than was joined before.
    """
    identity_key = home.identity.public_key().public_bytes_raw()
    if home.has_joined and (welcome.pins.federation, welcome.pins.roots) != (home.pins.federation, home.pins.roots):
        raise IdentityError(
            "other-consortium",
            f"a welcome of {welcome.pins.federation} under other roots than this site pinned when it joined "
            f"{home.pins.federation}. For another consortium, make another site's folder: client init NAME --home DIR.",
        )
    if welcome.site != home.site or welcome.identity != identity_key:
        raise IdentityError(
            "other-site",
            f"a welcome for site {welcome.site}, and this is {home.site}, or it has got new keys since. "
            "Ask the coordinator for the one that answers this site's latest request.",
        )
    if not home.has_joined:
        write_pins(home.folder / "pins.json", welcome.pins)
        tensorfile.write_atomically(home.folder / "roster", welcome.roster_file)
    else:
        with suppress(PolicyError):  # others have new keys too: the next contact brings their old keys' word
            home.take_roster(welcome.roster_file)
    tensorfile.write_atomically(home.authority, welcome.authority.encode())
    tensorfile.write_atomically(home.folder / "address", (welcome.address + "\n").encode())


def _part_in(config: Config, site: str) -> str:
    if config.plan is None:
        raise ConfigError(f"--rehearse: {config.name} has no section `plan`, so nobody can ask for its data.")
    dataset = {
        "data": config.data.model_dump(mode="json", exclude_defaults=True),
        "sites": config.sites.model_dump(mode="json", exclude_defaults=True),
        "take": site,
    }
    return yaml.safe_dump({"datasets": {config.plan.dataset: dataset}}, sort_keys=False)


def _with_new_keys(home: SiteFolder, request: JoinRequest, keys: Keys) -> JoinRequest:
    identity, node = keys
    encoded = node.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    # The identity first: where it is, there is a site, and `rekey` mends whatever a crash has left unfinished.
    write_secret(home.folder / "identity", identity.private_bytes_raw().hex().encode())
    write_secret(home.folder / "node", encoded)
    tensorfile.write_atomically(home.folder / f"{request.site}.request", request.file)
    return request


def _new_keys() -> Keys:
    return Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())
