"""Who belongs to the consortium: begin one, admit a site, give it new keys, let it go. Every change is a new roster.

A roster only ever rises in version, and every site keeps the newest that it has seen.

Nothing is sent from here: the gateway reads `roster` again and hands it to every site (docs/round.md, stop 2).
`roots` are the private root keys at hand. Where the consortium has more, what is drawn up waits for their signatures
(`server.consortium.signing`), and `server.consortium.publishing` says how it goes on then.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.config import Federation
from common.errors import ConfigError, PolicyError
from common.storage import tensorfile
from common.storage.files import write_secret
from common.trust.address_change import AddressChange
from common.trust.cosigning import RootPaper
from common.trust.documents import SignedDocument
from common.trust.enrolment import PURPOSE, write_pins
from common.trust.joining import JoinRequest, Welcome, checked_name
from common.trust.keys import public_of
from common.trust.root_change import RootChange, next_change
from common.trust.roster import (
    MAX_PURPOSES,
    MAX_ROOTS,
    MAX_SITES,
    MIN_COHORT,
    ConsortiumPolicy,
    Member,
    Pins,
    Roster,
)
from server.consortium import certificate, root_key, tls
from server.consortium.home import ConsortiumSettings, Home
from server.consortium.log_proofs import vouchers
from server.consortium.publishing import FINISH, alone
from server.consortium.signing import SigningOutcome, highest_version, request_of, sign

Roots = Sequence[Ed25519PrivateKey]
DAY_S = 86_400
MOST_DAYS = 3650


def begin(
    home: Home,
    settings: ConsortiumSettings,
    purposes: tuple[str, ...] = (PURPOSE,),
    days: int = 365,
    *,
    passphrase: str | None = None,
    roots: Sequence[bytes] = (),
) -> SigningOutcome:
    """Make a consortium without members: roots, TLS authority and certificate, policy, roster version 1.

    Args:
        passphrase: of the one root key that is made here; None: it lies in the clear.
        roots: public keys of roots that were made elsewhere; empty: one is made here.

    Raises:
        ConfigError: where there is one already, or for a name, an address or roots that cannot be used.
    """
    refuse_unusable(home, settings, purposes, days)
    if len(set(roots)) < len(roots) or len(roots) > MAX_ROOTS:
        raise ConfigError(f"--roots: {len(roots)} keys, expected up to {MAX_ROOTS} that differ.")
    ca, ca_key = tls.make_authority(settings.consortium)
    crt, key = tls.issue((ca, ca_key), [settings.host], certificate.DAYS)
    with _all_or_nothing(home.folder):
        keys = [] if roots else [root_key.make(home.folder / "root.key", passphrase)]
        write_secret(home.folder / "tls" / "ca.key", ca_key)
        write_secret(home.folder / "tls" / "server.key", key)
        tensorfile.write_atomically(home.authority, ca)
        tensorfile.write_atomically(home.folder / "tls" / "server.crt", crt)
        write_pins(home.folder / "pins.json", Pins(settings.consortium, tuple(roots) or tuple(map(public_of, keys))))
        plan = Federation()
        policy = ConsortiumPolicy(MIN_COHORT, plan.clip, plan.weight_bound, tuple(sorted(set(purposes))))
        first = Roster(settings.consortium, 1, _until(days), policy, ())
        outcome = _sign(home, "init", "first-roster", first, keys)
        # Last: the folder is a consortium when this file is there.
        tensorfile.write_atomically(home.folder / "consortium.yaml", settings.to_yaml())
    return outcome


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[None]:
    """What was not finished is taken away again: a key is never written over, so that half a folder would stay half."""
    before = set(folder.rglob("*"))
    try:
        yield
    except BaseException:
        for path in sorted(set(folder.rglob("*")) - before, reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def refuse_unusable(home: Home, settings: ConsortiumSettings, purposes: tuple[str, ...], days: int) -> None:
    """Refuse a folder that has a consortium, and what one cannot be made with.

    Raises:
        ConfigError: saying which.
    """
    checked_name(settings.consortium, "name")
    _until(days)
    if len(purposes) > MAX_PURPOSES or any(not purpose.isprintable() or len(purpose) > 200 for purpose in purposes):
        raise ConfigError(f"--purpose: expected up to {MAX_PURPOSES}, each a line of up to 200 characters.")
    if (home.folder / "consortium.yaml").exists():
        raise ConfigError(f"{home.folder}: there is a consortium here already. Give another folder with --home.")


def admit(home: Home, request: JoinRequest, roots: Roots, *, new_keys: bool = False) -> SigningOutcome:
    """Put a site on the roster, and write its welcome.

    Args:
        new_keys: it is a member already, and moves to the keys of this request.

    Raises:
        ConfigError: a name that is taken, or one that is not there and should be, or keys that were suspended.
        PolicyError: a key that another member has.
        RunError: somebody else is changing the roster.
    """
    with alone(home):
        roster, ca = _with_site(home, request, new_keys), home.authority.read_text(encoding="utf-8")
        welcome = Welcome.draw_up(
            request.site, request.identity, home.settings.address, ca, home.pins, roster or home.roster
        )
        return _sign(home, "admit", f"admit-{request.site}"[:63], roster, roots, welcome, request=request.file.decode())


def _with_site(home: Home, request: JoinRequest, new_keys: bool) -> Roster | None:
    """The next roster, with this site; None where nothing of it changes."""
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
    member = Member(request.site, request.identity)
    return _next(home, (*others, member)) if before != member else None


def revoke(home: Home, site: str, roots: Roots) -> SigningOutcome:
    """Suspend a site: the gateway lets it in no more, and no plan is for it.

    Raises:
        ConfigError: for a site that is no active member.
        RunError: somebody else is changing the roster.
    """
    with alone(home):
        roster, active = home.roster, home.roster.active
        if site not in active:
            raise ConfigError(f"site {site} is no active member; expected one of {', '.join(active) or 'nobody'}.")
        members = tuple(replace(m, status="suspended") if m.site == site else m for m in roster.members)
        return _sign(home, "revoke", f"revoke-{site}"[:63], _next(home, members), roots)


def renew(home: Home, days: int, roots: Roots) -> SigningOutcome:
    """The same members, valid for so many days from now; the gateway gets a new certificate.

    Raises:
        ConfigError: for a number of days that makes no sense.
        RunError: somebody else is changing the roster.
    """
    expires_s = _until(days)
    with alone(home):
        certificate.write(home, certificate.DAYS)
        roster = replace(_next(home, home.roster.members), expires_s=expires_s)
        return _sign(home, "renew", f"renew-{roster.version}", roster, roots)


def _sign(
    home: Home, act: str, name: str, roster: Roster | None, roots: Roots, *documents: SignedDocument, **words: str
) -> SigningOutcome:
    papers = [RootPaper.of_roster(roster)] if roster else []
    papers += [*map(RootPaper.of, documents), *vouchers(home)]
    return sign(home, request_of(home, act, name, papers, **words), {}, roots, FINISH[act])


def rotate(home: Home, new: Sequence[bytes], roots: Roots) -> SigningOutcome:
    """Change the roots: all old and all new sign the change, the next roster, and the voucher for the log.

    Raises:
        ConfigError: the new roots are the old ones, too many, or a change is on its way already.
        RunError: somebody else is changing the roster.
    """
    if next_change(pins := home.pins, home.root_changes):
        raise ConfigError("a change of the roots is on its way already; another can follow when it is in force.")
    if not 0 < len(set(new)) == len(new) <= MAX_ROOTS or set(new) == set(pins.roots):
        raise ConfigError(f"--to: expected 1 to {MAX_ROOTS} public halves, each once, and not just those of today.")
    with alone(home):
        change, roster = RootChange.draw_up(pins, tuple(new), time.time()), _next(home, home.roster.members)
        papers = [RootPaper.of(change.document), RootPaper.of_roster(roster), *vouchers(home, anew=True)]
        request = replace(request_of(home, "rotate", f"rotate-{change.number}", papers), roots=change.signers)
        return sign(home, request, {}, roots, FINISH["rotate"])


def move(home: Home, address: str, port: int, roots: Roots) -> SigningOutcome:
    """Tell all sites another address, under the same keys and the same TLS authority.

    Args:
        port: of the gateway on this machine.

    Raises:
        ConfigError: an address that is none.
        RunError: somebody else is changing the roster.
    """
    settings = home.settings.model_dump() | {"address": address, "port": port}
    ConsortiumSettings.parse(settings)
    with alone(home):
        change = AddressChange.draw_up(home.pins.federation, int(time.time()), address)
        request = request_of(home, "move", f"move-{change.number}", [RootPaper.of(change.document), *vouchers(home)])
        return sign(home, request, {"address": address, "port": port}, roots, FINISH["move"])


def _until(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"--days {days}: expected 1 to {MOST_DAYS}.")
    return int(time.time()) + days * DAY_S


def _shares_a_key(one: JoinRequest, other: JoinRequest) -> bool:
    return one.identity == other.identity or one.node == other.node


def _next(home: Home, members: tuple[Member, ...]) -> Roster:
    by_name = tuple(sorted(members, key=lambda m: m.site))
    return replace(home.roster, version=highest_version(home) + 1, members=by_name)
