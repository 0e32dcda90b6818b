"""Who belongs to the consortium: begin one, admit a site, give it new keys, let it go. Every change is a new roster.

A roster only ever rises in version, and every site keeps the newest that it has seen.

Nothing is sent from here: the gateway reads `roster` again and hands it to every site (docs/round.md, stop 2).
`roots` are the private root keys that sign; they may lie on a medium that is put away between two changes.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.config import Federation
from common.errors import ConfigError, PolicyError
from common.storage import tensorfile
from common.storage.files import write_json, write_secret
from common.storage.run_folder import lock_folder
from common.trust.enrolment import PURPOSE
from common.trust.joining import JoinRequest, Welcome, checked_name
from common.trust.keys import public_of
from common.trust.roster import MAX_PURPOSES, MAX_SITES, MIN_COHORT, ConsortiumPolicy, Member, Roster
from server.consortium import tls
from server.consortium.home import ConsortiumSettings, Home
from server.consortium.log_proofs import ensure_voucher

DAY_S = 86_400
CERTIFICATE_DAYS = 3 * 365
MOST_DAYS = 3650


def begin(home: Home, settings: ConsortiumSettings, purposes: tuple[str, ...] = (PURPOSE,), days: int = 365) -> Roster:
    """Make a consortium without members: root key, TLS authority and certificate, policy, roster version 1.

    Raises:
        ConfigError: where there is one already, or for a name or address that cannot be used.
    """
    checked_name(settings.consortium, "name")
    expires_s = _until(days)
    if len(purposes) > MAX_PURPOSES or any(not purpose.isprintable() or len(purpose) > 200 for purpose in purposes):
        raise ConfigError(f"--purpose: expected up to {MAX_PURPOSES}, each a line of up to 200 characters.")
    if (home.folder / "consortium.yaml").exists():
        raise ConfigError(f"{home.folder}: there is a consortium here already. Give another folder with --home.")
    ca, ca_key = tls.make_authority(settings.consortium)
    certificate, key = tls.issue((ca, ca_key), [_host(settings)], CERTIFICATE_DAYS)
    root = Ed25519PrivateKey.generate()
    write_secret(home.folder / "root.key", root.private_bytes_raw().hex().encode())
    write_secret(home.folder / "tls" / "ca.key", ca_key)
    write_secret(home.folder / "tls" / "server.key", key)
    tensorfile.write_atomically(home.authority, ca)
    tensorfile.write_atomically(home.folder / "tls" / "server.crt", certificate)
    write_json(home.folder / "pins.json", {"federation": settings.consortium, "roots": [public_of(root).hex()]})
    plan = Federation()
    policy = ConsortiumPolicy(MIN_COHORT, plan.clip, plan.weight_bound, tuple(sorted(set(purposes))))
    first = Roster(settings.consortium, 1, expires_s, policy, ())
    _publish(home, first, [root])
    # Last: the folder is a consortium when this file is there.
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    tensorfile.write_atomically(home.folder / "consortium.yaml", text.encode())
    return first


def admit(home: Home, request: JoinRequest, roots: list[Ed25519PrivateKey], *, new_keys: bool = False) -> Path:
    """Put a site on the roster, and write its welcome.

    Args:
        new_keys: it is a member already, and moves to the keys of this request.

    Raises:
        ConfigError: a name that is taken, or one that is not there and should be, or keys that were suspended.
        PolicyError: a key that another member has.
        RunError: somebody else is changing the roster.
    """
    with _alone(home):
        _put_on_roster(home, request, roots, new_keys)
    signed_roster, ca = home.consortium.roster, home.authority.read_text(encoding="utf-8")
    address = home.settings.address
    welcome = Welcome.write(request.site, request.identity, address, ca, home.pins, signed_roster, roots)
    path = home.folder / "welcomes" / f"{request.site}.welcome"
    tensorfile.write_atomically(path, welcome)
    return path


def _put_on_roster(home: Home, request: JoinRequest, roots: list[Ed25519PrivateKey], new_keys: bool) -> None:
    roster, requests = home.roster, home.requests()
    members = {member.site: member for member in roster.members}
    before = members.get(request.site)
    if before and not new_keys and before.key != request.identity:
        raise ConfigError(
            f"site {request.site} is a member already, with other keys. If it moved to new ones, and you have "
            "compared their fingerprint by telephone: admit it with --new-keys. Else it needs another name."
        )
    if new_keys and not before:
        raise ConfigError(f"site {request.site} is no member; expected one of {', '.join(members) or 'nobody'}.")
    last = requests.get(request.site)
    if before and before.status == "suspended" and last and _shares_a_key(last, request):
        raise ConfigError(
            f"site {request.site} was suspended, and Flower lets no key in twice. Have it make new ones, `python -m "
            "client rekey`, and admit that request with --new-keys."
        )
    others = [m for m in roster.members if m.site != request.site]
    strangers = [r for site, r in requests.items() if site != request.site]
    if any(m.key == request.identity for m in others) or any(_shares_a_key(r, request) for r in strangers):
        raise PolicyError("duplicate-site", f"{request.site}: another member has this key. Every site makes its own.")
    if len(others) >= MAX_SITES:
        raise ConfigError(f"the consortium has {len(others)} members, {MAX_SITES} at most.")
    if before != (member := Member(request.site, request.identity)):
        _publish(home, _next(roster, (*others, member)), roots)
    tensorfile.write_atomically(home.folder / "sites" / f"{request.site}.json", request.file)


def revoke(home: Home, site: str, roots: list[Ed25519PrivateKey]) -> Roster:
    """Suspend a site: the gateway lets it in no more, and no plan is for it.

    Raises:
        ConfigError: for a site that is no active member.
        RunError: somebody else is changing the roster.
    """
    with _alone(home):
        roster, active = home.roster, home.roster.active
        if site not in active:
            raise ConfigError(f"site {site} is no active member; expected one of {', '.join(active) or 'nobody'}.")
        members = tuple(replace(m, status="suspended") if m.site == site else m for m in roster.members)
        return _publish(home, _next(roster, members), roots)


def renew(home: Home, days: int, roots: list[Ed25519PrivateKey]) -> Roster:
    """The same members, valid for so many days from now; the gateway gets a new certificate.

    Raises:
        ConfigError: for a number of days that makes no sense.
        RunError: somebody else is changing the roster.
    """
    expires_s, settings = _until(days), home.settings
    key_file = home.folder / "tls" / "server.key"
    pair = home.authority.read_bytes(), (home.folder / "tls" / "ca.key").read_bytes()
    certificate, key = tls.issue(pair, [_host(settings)], CERTIFICATE_DAYS)
    with _alone(home):
        key_file.unlink(missing_ok=True)
        write_secret(key_file, key)
        tensorfile.write_atomically(home.folder / "tls" / "server.crt", certificate)
        return _publish(home, replace(_next(home.roster, home.roster.members), expires_s=expires_s), roots)


def _host(settings: ConsortiumSettings) -> str:
    return settings.address.rpartition(":")[0].strip("[]")


def _until(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"--days {days}: expected 1 to {MOST_DAYS}.")
    return int(time.time()) + days * DAY_S


def _shares_a_key(one: JoinRequest, other: JoinRequest) -> bool:
    return one.identity == other.identity or one.node == other.node


def _alone(home: Home) -> AbstractContextManager[None]:
    """Of one version there is one roster, whoever else is at the same folder."""
    return lock_folder(home.folder / "rosters", f"{home.folder}: another command is changing the roster. Try again.")


def _next(roster: Roster, members: tuple[Member, ...]) -> Roster:
    return Roster(
        roster.federation, roster.version + 1, roster.expires_s, roster.policy,
        tuple(sorted(members, key=lambda m: m.site)),
    )  # fmt: skip


def _publish(home: Home, roster: Roster, roots: list[Ed25519PrivateKey]) -> Roster:
    ensure_voucher(home, roots)
    file = roster.sign(roots)
    tensorfile.write_atomically(home.folder / "rosters" / f"{roster.version:06d}", file)
    tensorfile.write_atomically(home.folder / "roster", file)
    return roster
