"""The command `access` of `python -m client`: people, their roles, and changes that two data officers sign."""

import argparse
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from client.access import people, permissions
from client.access.permissions import OFFICER, ROLES, RULES
from client.access.policy import Content, Member, Policy
from client.home import Home
from common.audit.log import user
from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.errors import AccessError, ConfigError
from common.trust.joining import checked_name

ACCESS = """Who may do what at this site. Two data officers sign the policy; who is not in it may do nothing.

  python -m client access show                              people, roles, and what each role may
  python -m client access person bruno                      make a key, here: bruno.key, for nobody but Bruno
  python -m client access propose --add bruno 5f0c… data-officer,auditor
  python -m client access propose --roles ana data-officer --remove carla --purposes training
  python -m client access sign 1a2b3c4d                     the second data officer, after reading what changes

Who gives a command shows it by a key: --as bruno.key, else the file that CONSILIUM_PERSON names, else me.key in the
site's folder. docs/access.md has all of it."""


def _home_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, default=Path("site"), metavar="DIR", help="the site's folder (site)")


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    person = actions.add_parser("person", help="make a key for a person")
    person.add_argument("name", metavar="NAME")
    person.add_argument("--out", type=Path, metavar="FILE", help="where the key goes (NAME.key)")
    person.add_argument("--passphrase", action="store_true", help="ask for one, and encrypt the key with it")
    begin = actions.add_parser("begin", help="the first policy, of a site that an earlier release made")
    begin.add_argument("--person", default="", metavar="NAME", help="who has all roles then (the system user)")
    propose = actions.add_parser("propose", help="change the policy")
    add = propose.add_argument
    add("--add", nargs=3, action="append", default=[], metavar=("NAME", "KEY", "ROLE,ROLE"), help="a new person")
    add("--roles", nargs=2, action="append", default=[], metavar=("NAME", "ROLE,ROLE"), help="these and no others")
    add("--until", nargs=2, action="append", default=[], metavar=("NAME", "DATE"), help="to the end of that day, UTC")
    add("--since", nargs=2, action="append", default=[], metavar=("NAME", "DATE"), help="from that day on, UTC")
    add("--remove", action="append", default=[], metavar="NAME", help="may do nothing any more")
    add("--purposes", metavar="P,P", help="which plans may be approved for")
    sign = actions.add_parser("sign", help="sign what another data officer proposes")
    sign.add_argument("proposal", metavar="PROPOSAL", help="the beginning of its digest, as `access show` has it")
    for each in (begin, propose, sign, actions.add_parser("show", help="people, roles, what waits")):
        _home_argument(each)


def _run(options: argparse.Namespace) -> int:
    return {"person": _person, "begin": _begin, "show": _show, "propose": _propose, "sign": _sign}[options.action](
        options
    )


def own_name(given: str) -> str:
    """A person's name: as given, else the system user's."""
    return checked_name(given or re.sub(r"[^A-Za-z0-9_.-]+", "-", user()).strip("-._") or "me", "--person")


def begin(home: Home, person: str = "") -> Policy:
    """The first policy of a site: one person in all roles, whose key is made in the site's folder.

    Raises:
        ConfigError: there was one before.
    """
    name, path = own_name(person), home.folder / people.OWN
    key = people.opened(path) if path.exists() else people.make(path)
    return home.access.begin(name, key.private, key.public, home.settings.policy.purposes)


# --- what people type -----------------------------------------------------------------------------------------------


def _person(options: argparse.Namespace) -> int:
    name = checked_name(options.name, "NAME")
    path = options.out or Path(f"{name}.key")
    key = people.make(path, people.new_passphrase() if options.passphrase else None)
    print(f"Key of {name} made in {path}; only {name} may have it. Its public half, for a data officer:\n")
    print(f"    {key.public}\n\nand its fingerprint, to compare when you meet or telephone:\n\n    {key.fingerprint}\n")
    print(f"There: python -m client access propose --add {name} {key.public[:4]}… ROLE,ROLE")
    return 0


def _begin(options: argparse.Namespace) -> int:
    policy = begin(Home.at(options.home), options.person)
    print(f"The policy is begun: {policy.content.people[0].name} has all roles. Next: a second data officer.")
    return 0


def _show(options: argparse.Namespace) -> int:
    home, console = Home.at(options.home), terminal.console()
    policy = home.access.in_force()
    told = policy.content
    console.print(
        f"Policy of site {told.site}, version {told.version} ({policy.digest[:8]}), made {_day(told.made_s)}."
    )
    console.print(f"Plans may be approved for: {', '.join(told.purposes) or 'nothing'}.", markup=False)
    console.print(_people(told, console.is_terminal))
    console.print(_rules())
    if alone := one_alone(told):
        console.print(alone)
    if proposal := home.access.proposal():
        _show_proposal(policy, proposal)
    return 0


def _propose(options: argparse.Namespace) -> int:
    home, actor = Home.at(options.home), options.actor
    before = home.access.in_force()
    try:
        content = changed(before, options)
    except ValidationError as error:
        raise ConfigError(f"access propose: {error.errors()[0]['msg']}: {error.errors()[0]['input']!r}.") from None
    policy = Policy.write(content, [actor.key.private])
    _show_changes(before, policy)
    _offered(home, policy, options)
    return 0


def _sign(options: argparse.Namespace) -> int:
    home, actor = Home.at(options.home), options.actor
    proposal = home.access.proposal()
    if proposal is None or len(options.proposal) < 8 or not proposal.digest.startswith(options.proposal):
        waits = f"{proposal.digest[:8]} waits" if proposal else "nothing waits"
        raise ConfigError(f"{options.proposal}: no such proposal; {waits}. Read it first: python -m client access show")
    proposal.missing(home.access.in_force())
    if bytes.fromhex(actor.key.public) in proposal.paper.signatures:
        raise ConfigError(f"{actor.person.name} has signed it already; another {OFFICER} has to.")
    _show_changes(home.access.in_force(), proposal)
    _offered(home, proposal.also_signed(actor.key.private), options)
    return 0


def _offered(home: Home, policy: Policy, options: argparse.Namespace) -> None:
    options.act.facts |= {"version": policy.content.version, "digest": policy.digest}
    if home.access.offer(policy):
        print(f"Version {policy.content.version} of the policy is in force.")
        if alone := one_alone(policy.content):
            print(alone)
    else:
        print(f"It waits for a second {OFFICER}: python -m client access sign {policy.digest[:8]} --as KEY")


def changed(before: Policy, options: argparse.Namespace) -> Content:
    """The next version's content.

    Raises:
        ConfigError: somebody who is not there, or a change that cannot be.
    """
    told = before.content
    found = {person.name: person for person in told.people}

    def change(name: str, **update: object) -> None:
        if name not in found:
            raise ConfigError(f"{name}: is not in the policy; there is: {', '.join(found)}.")
        found[name] = Member.model_validate({**found[name].model_dump(), **update})

    for name in options.remove:
        change(name)
        del found[name]
    for name, key, roles in options.add:
        if name in found:
            raise ConfigError(f"{name}: is in the policy already; --roles changes what they may.")
        found[name] = Member(name=name, key=key.lower(), roles=_roles(roles))
    for name, roles in options.roles:
        change(name, roles=_roles(roles))
    for name, day in options.since:
        change(name, since_s=_midnight_s(day))
    for name, day in options.until:
        change(name, until_s=_midnight_s(day) + 86_400)
    purposes = told.purposes if options.purposes is None else tuple(filter(None, options.purposes.split(",")))
    after = (tuple(found.values()), purposes)
    if after == (told.people, told.purposes):
        raise ConfigError("nothing would change; expected --add, --roles, --remove, --since, --until or --purposes.")
    return Content(
        site=told.site, version=told.version + 1, previous=before.digest, made_s=int(time.time()), purposes=purposes,
        people=tuple(found.values()),
    )  # fmt: skip


def one_alone(told: Content) -> str:
    """A warning where one person can change the policy; else nothing."""
    if len(officers := told.officers(time.time())) > 1:
        return ""
    name = officers[0].name if officers else "nobody"
    return (
        f"One person alone, {name}, can change the policy. Name a second {OFFICER}: they run `python -m client access "
        f"person NAME`, and you `python -m client access propose --add NAME KEY {OFFICER}`."
    )


# --- how it is shown ------------------------------------------------------------------------------------------------


def _people(told: Content, short: bool) -> Sheet:
    shown = Sheet("person", "roles", "since", "until", "key", prose=("roles",))
    for person in told.people:
        since = _day(person.since_s) if person.since_s else ""
        key = f"{person.key[:8]}…" if short else person.key
        shown.add(person.name, ", ".join(person.roles), since, _until(person), key)
    return shown


def _rules() -> Sheet:
    shown = Sheet("command", *ROLES)
    for name, rule in RULES.items():
        shown.add(name, *("yes" if rule.roles is None or role in rule.roles else "" for role in ROLES))
    return shown


def _show_proposal(before: Policy, proposal: Policy) -> None:
    print(f"\nProposal {proposal.digest[:8]}, which waits for a second signature:")
    try:
        proposal.missing(before)
        _show_changes(before, proposal)
    except AccessError as error:
        print(f"  cannot come into force: {error}")


def _show_changes(before: Policy, after: Policy) -> None:
    old, new = ({person.name: person for person in policy.content.people} for policy in (before, after))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            print(f"  {name}: {_said(old.get(name))}  →  {_said(new.get(name))}")
    if before.content.purposes != after.content.purposes:
        print(f"  purposes: {', '.join(before.content.purposes)}  →  {', '.join(after.content.purposes)}")


def _said(person: Member | None) -> str:
    if person is None:
        return "not in it"
    times = f", from {_day(person.since_s)}" * bool(person.since_s) + f", until {_until(person)}" * bool(person.until_s)
    return f"{', '.join(person.roles) or 'no role'}{times}, key {person.key[:16]}…"


def _until(person: Member) -> str:
    return _day(person.until_s - 1) if person.until_s else ""


def _roles(text: str) -> tuple[permissions.Role, ...]:
    words = {word.strip() for word in text.split(",") if word.strip()}
    if strange := sorted(words - set(ROLES)):
        raise ConfigError(f"{strange[0]}: expected some of {', '.join(ROLES)}, with commas between.")
    return tuple(role for role in ROLES if role in words)


def _midnight_s(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ConfigError(f"{text}: expected a date like 2026-11-30.") from None


def _day(at_s: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))


COMMANDS = {"access": Command("who may do what at this site", ACCESS, _arguments, _run)}
