"""The commands about who belongs to the consortium: init, fingerprint, admit, revoke, renew."""

import argparse
from pathlib import Path

from common.cli.command import Command, confirm_fingerprint
from common.errors import ConfigError, IdentityError
from common.trust.enrolment import PURPOSE
from common.trust.joining import JoinRequest, consortium_fingerprint
from server.consortium import membership, root_key
from server.consortium.arguments import add_home, add_root
from server.consortium.home import ConsortiumSettings, Home

INIT = """Make a consortium: the root key that signs rosters and plans, a TLS authority of its own, the policy,
roster version 1.

  python -m server init chest-consortium --address train.hospital.example:8443
  python -m server init chest-consortium --address train.hospital.example:8443 --roots ana.pub,ben.pub

--address is what hospitals connect to. One root key is made here, under a passphrase that is asked for twice (or is
in the file that CONSILIUM_ROOT_PASSPHRASE_FILE names); --no-passphrase leaves it in the clear, for rehearsals.
Whoever has it can admit sites. It is needed by admit, revoke, renew and run, not by the running processes: it may lie
on a medium that is put away (--root FILE).

With --roots no key is made here: people made theirs with `python -m server root new`, each on a machine of their own,
and brought the .pub files. Nothing counts then that not all of them have signed."""

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
    parser.add_argument("--listen", metavar="IP", help="only this address of this machine (all; :: for IPv6, too)")
    parser.add_argument(
        "--superlink-port", type=int, metavar="N", help="on loopback (18000); another for a second consortium here"
    )
    parser.add_argument("--purpose", action="append", default=[], metavar="P", help="what plans may be for (training)")
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long the roster is valid (365)")
    parser.add_argument(
        "--roots", default="", metavar="PUB,PUB", help="public halves of roots that were made elsewhere"
    )
    parser.add_argument("--no-passphrase", action="store_true", help="the root key that is made here lies in the clear")
    add_home(parser)


def _init(options: argparse.Namespace) -> int:
    home, port = Home(options.home), options.address.rpartition(":")[2]
    if not port.isdigit():
        raise ConfigError(f"--address {options.address}: expected HOST:PORT, for example train.hospital.example:8443.")
    content: dict[str, object] = {"consortium": options.name, "address": options.address}
    content["port"] = options.port or int(port)
    if options.listen or options.address.startswith("["):
        content["listen"] = options.listen or "::"
    if options.superlink_port:
        content["superlink_port"] = options.superlink_port
    elif content["port"] == ConsortiumSettings.model_fields["superlink_port"].default:
        content["superlink_port"] = int(port) + 1
    settings = ConsortiumSettings.parse(content)
    purposes = tuple(options.purpose) or (PURPOSE,)
    membership.refuse_unusable(home, settings, purposes, options.days)  # before anybody types a passphrase
    roots = root_key.read_publics(options.roots)
    key_file = home.folder / "root.key"
    passphrase = None if roots or options.no_passphrase else root_key.new_passphrase(key_file)
    outcome = membership.begin(home, settings, purposes, options.days, passphrase=passphrase, roots=roots)
    print(f"Consortium {options.name} made in {home.folder}. Its fingerprint, for the hospitals to compare:\n")
    print(f"    {consortium_fingerprint(home.pins)}\n")
    if roots:
        print(outcome.words)
        return 0
    print(
        f"Keep {key_file} safe and back it up{_IN_THE_CLEAR if passphrase is None else ', and its passphrase apart'}."
    )
    print("Next: hospitals run `python -m client init`, and send you their request; `python -m server admit REQUEST`")
    print("answers it.")
    return 0


_IN_THE_CLEAR = ": it lies in the clear, and whoever copies it can admit sites"


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
    outcome = membership.admit(home, request, home.root_keys(*options.root), new_keys=options.new_keys)
    options.act.facts["roster"] = home.roster.version
    print(outcome.words)
    return 0


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", metavar="SITE")
    add_root(parser)


def _revoke(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    options.act.facts["site"] = options.site
    outcome = membership.revoke(home, options.site, home.root_keys(*options.root))
    options.act.facts["roster"] = home.roster.version
    print(outcome.words)
    return 0


def _renew_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long the roster is valid (365)")
    add_root(parser)


def _renew(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    outcome = membership.renew(home, options.days, home.root_keys(*options.root))
    options.act.facts["roster"] = home.roster.version
    print(outcome.words)
    return 0


MOVE = """The gateway moves to another address: every site is told, under the roots' signatures. No new keys, no
welcome.

  python -m server move --address fl.hospital.example:8443

Sites that are connected go there by themselves; so let the old address lead to the gateway for some days, or send the
others the file address.json that this writes."""


def _move_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="what hospitals connect to from now on")
    parser.add_argument("--port", type=int, metavar="N", help="the gateway's port here, where it is another (NAT)")
    add_root(parser)


def _move(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    port = options.address.rpartition(":")[2]
    if not port.isdigit():
        raise ConfigError(f"--address {options.address}: expected HOST:PORT, for example train.hospital.example:8443.")
    outcome = membership.move(home, options.address, options.port or int(port), home.root_keys(*options.root))
    print(outcome.words)
    return 0


COMMANDS = {
    "move": Command(MOVE, _move_arguments, _move),
    "init": Command(INIT, _init_arguments, _init),
    "admit": Command(ADMIT, _admit_arguments, _admit),
    "fingerprint": Command(FINGERPRINT, _fingerprint_arguments, _fingerprint),
    "revoke": Command(REVOKE, _revoke_arguments, _revoke),
    "renew": Command(RENEW, _renew_arguments, _renew),
}
