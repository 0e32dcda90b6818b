"""The commands about who belongs to the consortium: init, fingerprint, admit, revoke, renew."""

import argparse
import time
from pathlib import Path

from common.cli import terminal
from common.cli.command import Command, confirm_fingerprint
from common.errors import ConfigError, IdentityError
from common.trust.joining import JoinRequest, consortium_fingerprint
from server.consortium import membership
from server.consortium.arguments import add_home, add_root
from server.consortium.home import ConsortiumSettings, Home

INIT = """Make a consortium: the root key that signs rosters and plans, a TLS authority of its own, the policy,
roster version 1.

  python -m server init chest-consortium --address train.hospital.example:8443

--address is what hospitals connect to. Keep root.key safe: whoever has it can admit sites. It is needed by
admit, revoke, renew and run, not by the running processes: it may lie on a medium that is put away (--root
FILE)."""

ADMIT = """Put a hospital on the roster, and write the welcome file to send back to it. No secret is in either file.

  python -m server admit lisbon.request

Telephone the hospital and compare the fingerprint that is shown with the one that `client init` showed there:
that, and nothing else, tells that the request is theirs. For scripts: --fingerprint "12345 …". With --new-keys,
a member moves to new keys."""

FINGERPRINT = """Show the consortium's fingerprint, which a hospital that joins will ask for over the telephone.

  python -m server fingerprint"""

REVOKE = """Suspend a site: the gateway lets it in no more, and the next roster tells all the others.

  python -m server revoke lisbon"""

RENEW = """Sign the roster again, valid for another year, and make the gateway a new certificate.

  python -m server renew --days 365"""


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the consortium's")
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="what hospitals connect to")
    parser.add_argument("--port", type=int, metavar="N", help="the gateway's port here, where it is another (NAT)")
    parser.add_argument("--purpose", action="append", default=[], metavar="P", help="what plans may be for (training)")
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long the roster is valid (365)")
    add_home(parser)


def _init(options: argparse.Namespace) -> int:
    home, port = Home(options.home), options.address.rpartition(":")[2]
    if not port.isdigit():
        raise ConfigError(f"--address {options.address}: expected HOST:PORT, for example train.hospital.example:8443.")
    content = {"consortium": options.name, "address": options.address, "port": options.port or int(port)}
    settings = ConsortiumSettings.parse(content)
    membership.begin(home, settings, tuple(options.purpose) or ("training",), options.days)
    print(f"Consortium {options.name} made in {home.folder}. Its fingerprint, for the hospitals to compare:\n")
    print(f"    {consortium_fingerprint(home.pins)}\n")
    print(f"Keep {home.folder / 'root.key'} safe and back it up. Next: hospitals run `python -m client init`, and send")
    print("you their request; `python -m server admit REQUEST` answers it.")
    return 0


def _fingerprint_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="the digits alone, for scripts")
    add_home(parser)


def _fingerprint(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    digits = consortium_fingerprint(home.pins)
    settings = home.settings
    print(digits if options.plain else f"Consortium {settings.consortium} at {settings.address}:\n\n    {digits}")
    return 0


def _admit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", type=Path, metavar="REQUEST", help="the file that `client init` wrote")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="as the hospital read it out; else you are asked")
    parser.add_argument("--new-keys", action="store_true", help="a member moves to the keys of this request")
    add_root(parser)


def _admit(options: argparse.Namespace) -> int:
    home, request = Home.at(options.home), JoinRequest.read(options.request.read_bytes())
    options.act.facts["site"] = request.site
    print(f"Site {request.site}, contact {request.contact or 'not given'}. Fingerprint:\n\n    {request.fingerprint}\n")
    question = "Have you compared it over the telephone, and is it the same?"
    if not confirm_fingerprint(question, request.fingerprint, options.fingerprint):
        raise IdentityError(
            "fingerprint", "the fingerprint was not confirmed, so nobody was admitted. Compare it with what the "
            'hospital reads out, and answer yes, or give --fingerprint "…".',
        )  # fmt: skip
    path = membership.admit(home, request, home.root_keys(options.root), new_keys=options.new_keys)
    options.act.facts["roster"] = home.roster.version
    print(f"Admitted: roster version {home.roster.version}, {len(home.roster.active)} active members.")
    print(f"Send {path} to the hospital; it holds no secret. There: python -m client join {terminal.word(path.name)}")
    return 0


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", metavar="SITE")
    add_root(parser)


def _revoke(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    options.act.facts["site"] = options.site
    roster = membership.revoke(home, options.site, home.root_keys(options.root))
    options.act.facts["roster"] = roster.version
    print(f"Site {options.site} suspended: roster version {roster.version}, {len(roster.active)} active members.")
    return 0


def _renew_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long the roster is valid (365)")
    add_root(parser)


def _renew(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    roster = membership.renew(home, options.days, home.root_keys(options.root))
    options.act.facts["roster"] = roster.version
    print("The new certificate is used from the next `python -m server start` on.")
    print(f"Roster version {roster.version}, valid until {time.strftime('%Y-%m-%d', time.gmtime(roster.expires_s))}.")
    return 0


COMMANDS = {
    "init": Command("make a consortium", INIT, _init_arguments, _init),
    "admit": Command("put a hospital on the roster", ADMIT, _admit_arguments, _admit),
    "fingerprint": Command("the consortium's, to read out", FINGERPRINT, _fingerprint_arguments, _fingerprint),
    "revoke": Command("suspend a site", REVOKE, _revoke_arguments, _revoke),
    "renew": Command("sign the roster again before it expires", RENEW, _renew_arguments, _renew),
}
