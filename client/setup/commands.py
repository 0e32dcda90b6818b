"""The commands `init`, `fingerprint`, `join`, `rekey` and `check` of `python -m client`: a site becomes ready."""

import argparse
from pathlib import Path

from client.dataset.commands import DECODED_STAYS
from client.home import SiteFolder, home_option
from client.plans.coordinator_address import take_address
from client.setup import enrol
from common import config as configuration
from common.cli import terminal
from common.cli.command import Command, confirm_fingerprint
from common.errors import ConfigError, IdentityError
from common.trust.documents import fingerprint
from common.trust.joining import JoinRequest, Welcome
from common.trust.roster import load_verified_roster

INIT = """Make this site's keys, here, and the request to send to the coordinator. The keys never leave; the
request holds no secret.

  python -m client init lisbon --contact "Ana Sousa, +351 …"

The coordinator will telephone and ask for the fingerprint that is shown."""

FINGERPRINT = """Show the fingerprint of this site's request, which the coordinator will ask for over the telephone.

  python -m client fingerprint"""

JOIN = """Pin what the coordinator sent back: its address and certificate authority, the roster, and whose
signatures count.

  python -m client join lisbon.welcome

Telephone the coordinator and compare the fingerprint of the consortium: from then on this site believes no
other roots. For scripts: --fingerprint "12345 …"."""

REKEY = """Put this site's keys aside and make new ones: after a theft, or when the machine is replaced. Then as
at the beginning: the coordinator admits the new request with --new-keys, and this site joins with the new
welcome.

  python -m client rekey"""

ACCEPT = """Accept another member's new key, where its old key is lost and cannot speak for it. Until then this site
refuses the roster that has it, with all that follows.

  python -m client accept-key osaka

Telephone that hospital, not the coordinator, and compare the fingerprint: `python -m client fingerprint` there shows
it as that of its key. For scripts: --fingerprint "12345 …"."""

MOVE = """Go to the coordinator's new address, which its roots have signed. A site that is connected does so by itself;
one that was away until the old address was gone gets the file from the coordinator, by any means. No new keys, no
welcome.

  python -m client move address.json"""

CHECK = """Without CONFIG: is this site ready to take part? Keys, roster, clock, disk, address and certificate,
release, images, labels, processor: a line each, ok or what to do. With CONFIG: is the data of a configuration
ready to train on?

  python -m client check
  python -m client check configs/demo.yaml
  python -m client check configs/plan-template.yaml 'data={kind: manifest, path: /images/list.csv}'

For a configuration, the table shows each site's cases by class (12/34: 12 of the first class, 34 of the second)
and split, how many people they show, and sizes and intensities as read. Every line is ok, warn (look at it) or
ERROR (a run would stop). Exit status: 0 ready, 1 something is wrong, 2 a configuration or a data set that
cannot be used at all."""


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="this site's, without spaces: lisbon")
    parser.add_argument("--contact", default="", metavar="TEXT", help="whom the coordinator can telephone")
    parser.add_argument("--person", default="", metavar="NAME", help="who may do everything at first (the system user)")
    parser.add_argument("--rehearse", metavar="CONFIG", help="play the part of the simulated site of this name in it")
    home_option(parser)


def _init(options: argparse.Namespace) -> int:
    part = configuration.load(options.rehearse) if options.rehearse else None
    _show_request(
        options.home, enrol.begin(SiteFolder(options.home), options.name, options.contact, part, options.person)
    )
    print("When the welcome has come: python -m client join WELCOME. Images may come in before that: docs/deploy.md")
    return 0


def _rekey_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contact", default="", metavar="TEXT", help="whom the coordinator can telephone")
    home_option(parser)


def _rekey(options: argparse.Namespace) -> int:
    _show_request(options.home, enrol.rekey(options.here, options.contact))
    print("The old keys lie under old/; delete them when the new ones work.")
    return 0


def _show_request(folder: Path, request: JoinRequest) -> None:
    print(f"Keys of site {request.site} made in {folder}; they never leave it. The request's fingerprint:\n")
    print(f"    {request.fingerprint}\n")
    print(f"Send {folder / (request.site + '.request')} to the coordinator, who will telephone and compare it.")


def _fingerprint_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="the digits alone, for scripts")
    home_option(parser)


def _fingerprint(options: argparse.Namespace) -> int:
    home = SiteFolder(options.home)
    request = JoinRequest.read((home.folder / f"{home.site}.request").read_bytes())
    key_line = f"Its key alone, for other sites that ask: {fingerprint(request.identity)}"
    print(request.fingerprint if options.plain else f"Site {request.site}:\n\n    {request.fingerprint}\n\n{key_line}")
    return 0


def _join_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("welcome", type=Path, metavar="WELCOME", help="the file that the coordinator sent")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="as the coordinator read it out; else you are asked")
    home_option(parser)


def _join(options: argparse.Namespace) -> int:
    welcome = Welcome.read(options.welcome.read_bytes())
    print(f"Consortium {welcome.pins.federation} at {welcome.address}. Its fingerprint:\n\n    {welcome.fingerprint}\n")
    question = "Have you compared it over the telephone, and is it the same?"
    if not confirm_fingerprint(question, welcome.fingerprint, options.fingerprint):
        raise IdentityError(
            "fingerprint", "the fingerprint was not confirmed, so nothing was pinned. Compare it with what the "
            'coordinator reads out, and answer yes, or give --fingerprint "…".',
        )  # fmt: skip
    enrol.join(options.here, welcome)
    print("Joined. Next: images, if there are none yet (python -m client custody begin RECOVERY-FILE, then import)")
    print("Then: python -m client check, and python -m client run")
    return 0


def _accept_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", metavar="SITE", help="the member with a new key")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="as that hospital read it out; else you are asked")
    home_option(parser)


def _accept(options: argparse.Namespace) -> int:
    home, site = options.here, options.site
    if not home.refused_roster.exists():
        raise ConfigError(f"{site}: no roster was refused here. python -m client check fetches the newest.")
    roster = load_verified_roster(home.refused_roster.read_bytes(), home.pins)
    key = {member.site: member.key for member in roster.members}.get(site, b"")
    digits = fingerprint(key)
    print(f"Roster {roster.version} has {site} under another key. Its fingerprint:\n\n    {digits}\n")
    if not confirm_fingerprint(f"Have you compared it with {site} by telephone?", digits, options.fingerprint):
        raise IdentityError("fingerprint", "the fingerprint was not confirmed, so the roster stays refused.")
    home.accept_key(site, key)
    options.act.facts |= {"site": site, "key": key.hex()}
    print("Accepted. The roster is taken at the next contact: python -m client check")
    return 0


def _move_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what `server move` wrote: address.json")
    home_option(parser)


def _move(options: argparse.Namespace) -> int:
    home = options.here
    before, is_new = home.address, take_address(home, options.file.read_bytes())
    print(f"The coordinator is at {home.address}{f' now; it was at {before}.' if is_new else ' already.'}")
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file; see configs/ and docs/data.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the file, e.g. data.path=list.csv")
    parser.add_argument("--json", action="store_true", help="for programs; of this site, without CONFIG")
    home_option(parser)


def _check(options: argparse.Namespace) -> int:
    if options.config is None:
        from client.setup import preflight

        home = options.here
        return preflight.check_as_json(home) if options.json else preflight.check(home, terminal.console())
    if options.json:
        raise ConfigError("check --json is of this site; expected no configuration beside it.")
    from client.dataset import readiness, readiness_report

    report = readiness.examine(configuration.load(options.config, options.overrides), options.here)
    readiness_report.show(report, terminal.console())
    return 0 if report.ready else 1


COMMANDS = {
    "init": Command(INIT, _init_arguments, _init),
    "fingerprint": Command(FINGERPRINT, _fingerprint_arguments, _fingerprint),
    "join": Command(JOIN, _join_arguments, _join),
    "rekey": Command(REKEY, _rekey_arguments, _rekey),
    "accept-key": Command(ACCEPT, _accept_arguments, _accept),
    "move": Command(MOVE, _move_arguments, _move),
    "check": Command(CHECK, _check_arguments, _check, DECODED_STAYS),
}
