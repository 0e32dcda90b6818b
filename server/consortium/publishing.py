"""What is done when all roots have signed a change of who belongs to the consortium, whoever signed last, and where."""

import time
from contextlib import AbstractContextManager

from common.cli import terminal
from common.errors import ConfigError, PolicyError
from common.storage import tensorfile
from common.storage.run_folder import lock_folder
from common.trust.cosigning import SigningRequest
from common.trust.enrolment import keep_root_change
from common.trust.joining import JoinRequest, Welcome
from common.trust.root_change import NOTICE_S, RootChange, next_change
from common.trust.roster import Roster, load_verified_roster
from server.consortium import certificate
from server.consortium.home import ConsortiumSettings, Home
from server.consortium.log_proofs import keep_voucher
from server.consortium.signing import Finish, Rest


def alone(home: Home) -> AbstractContextManager[None]:
    """Of one version there is one roster, whoever else is at the same folder."""
    (home.folder / "rosters").mkdir(exist_ok=True)
    return lock_folder(home.folder / "rosters", f"{home.folder}: another command is changing the roster. Try again.")


def publish(home: Home, request: SigningRequest) -> Roster:
    """Put the signed roster of a request in its place, if it has one, and the voucher.

    Raises:
        PolicyError: `rolled-back-roster`, a newer one has been published meanwhile.
    """
    if (paper := request.paper("roster")) is None:
        keep_voucher(home, request)
        return home.roster
    roster, current = load_verified_roster(paper.file, home.pins), home.folder / "roster"
    if current.exists() and roster.version <= (newest := home.roster.version):
        raise PolicyError("rolled-back-roster", f"roster {roster.version}, and {newest} has been published before.")
    keep_voucher(home, request)
    tensorfile.write_atomically(home.folder / "rosters" / f"{roster.version:06d}", paper.file)
    tensorfile.write_atomically(current, paper.file)
    return roster


def _finish_init(home: Home, request: SigningRequest, _: Rest) -> str:
    publish(home, request)
    return f"Roster version 1 of {home.pins.federation} is signed. `python -m server admit REQUEST` admits hospitals."


def _finish_admit(home: Home, request: SigningRequest, _: Rest) -> str:
    joins, welcome = JoinRequest.read(request.words["request"].encode()), request.paper("welcome")
    if joins.rekey:  # first: no site shall see the roster without it
        name = f"{joins.site}-{joins.identity.hex()[:16]}.json"
        tensorfile.write_atomically(home.folder / "rekeys" / name, joins.rekey)
    roster = publish(home, request)
    if welcome is None or welcome.content["roster"] != roster.digest.hex():
        raise PolicyError("other-roster", f"{request.name}: the roster is another by now. Admit {joins.site} again.")
    tensorfile.write_atomically(home.folder / "sites" / f"{joins.site}.json", joins.file)
    path = home.welcome(joins.site)
    tensorfile.write_atomically(path, Welcome.file(welcome.file, home.consortium.roster))
    return (
        f"Admitted: roster version {roster.version}, {len(roster.active)} active members.\n"
        f"Send {path} to the hospital; it holds no secret. There: python -m client join {terminal.word(path.name)}"
    )


def _finish_revoke(home: Home, request: SigningRequest, _: Rest) -> str:
    before = home.roster.active
    roster = publish(home, request)
    site = ", ".join(sorted(set(before) - set(roster.active)))
    return f"Site {site} suspended: roster version {roster.version}, {len(roster.active)} active members."


def _finish_renew(home: Home, request: SigningRequest, _: Rest) -> str:
    roster = publish(home, request)
    until = time.strftime("%Y-%m-%d", time.gmtime(roster.expires_s))
    return f"The gateway takes up the new certificate by itself.\nRoster version {roster.version}, valid until {until}."


def _finish_rotate(home: Home, request: SigningRequest, _: Rest) -> str:
    (file,) = (paper.file for paper in request.papers if paper.kind == "roots")
    change, pins = RootChange.load_verified(file, home.pins.federation), home.pins
    if change.old != pins.roots or change.number != pins.changes + 1 or next_change(pins, home.root_changes):
        raise PolicyError("changed-paper", f"{request.name}: the roots are others by now. Drop it.")
    if change.in_force_s - time.time() < NOTICE_S / 2:
        raise ConfigError(f"{request.name}: was drawn up too long ago to give notice. Drop it, and rotate again.")
    publish(home, request)
    keep_root_change(home.folder, change)
    home.moved.unlink(missing_ok=True)  # under the old roots: who joins from now on has the address in its welcome
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(change.in_force_s))
    old, new = change.words
    return (
        f"The roots change on {day}. Until then all old and all new sign. Sites see it at their next contact.\n"
        f"Fingerprint now   {old}\n          then    {new}"
    )


def _finish_move(home: Home, request: SigningRequest, rest: Rest) -> str:
    keep_voucher(home, request)
    (paper,) = (paper for paper in request.papers if paper.kind == "address")
    before = home.settings
    settings = ConsortiumSettings.parse(before.model_dump() | {"address": rest["address"], "port": rest["port"]})
    tensorfile.write_atomically(home.folder / "consortium.yaml", settings.to_yaml())
    certificate.write(home, certificate.DAYS, before.host)  # for the old address too, while sites still come by it
    tensorfile.write_atomically(home.moved, paper.file)
    return (
        f"From now on sites find the gateway at {settings.address}; those that are connected go there by themselves.\n"
        f"Let the old address, {before.address}, lead here until `status` shows all of them, or send {home.moved} to "
        "those that are missing; there: python -m client move address.json"
    )


FINISH: dict[str, Finish] = {
    "init": _finish_init,
    "admit": _finish_admit,
    "revoke": _finish_revoke,
    "renew": _finish_renew,
    "rotate": _finish_rotate,
    "move": _finish_move,
}
"""How each act goes on when all roots have signed; under the lock of `alone`."""
