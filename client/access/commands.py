"""The command `access` of `python -m client`: people, their roles, and changes that two data officers sign."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from client.access import people, signed_entries
from client.access.permissions import OFFICER
from client.access.policy import SitePolicy
from client.access.policy_change import begin_policy, changed_content, lone_officer_warning
from client.access.policy_store import policy_store
from client.access.policy_view import day, people_table, rules_table, show_changes, show_proposal
from client.home import SiteFolder, home_option
from common.audit import log_view
from common.cli import terminal
from common.cli.command import Command
from common.errors import ConfigError
from common.trust.joining import checked_name

ACCESS = """Who may do what at this site. Two data officers sign the policy; who is not in it may do nothing.

  python -m client access show                              people, roles, and what each role may
  python -m client access person bruno                      make a key, here: bruno.key, for nobody but Bruno
  python -m client access propose --add bruno 5f0c… data-officer,auditor
  python -m client access propose --roles ana data-officer --remove carla --purposes training
  python -m client access sign 1a2b3c4d                     the second data officer, after reading what changes

Who gives a command shows it by a key: --as bruno.key, else the file that CONSILIUM_PERSON names, else me.key in the
site's folder. docs/access.md has all of it."""


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
    add("--results-to", nargs="*", metavar="ARCHIVE", help='archives for results, "NAME ADDRESS" each, as `pacs list`')
    add("--plugins", nargs="*", metavar="NAME[@DIGEST]", help="wheels whose code plans may use; all that are to be")
    sign = actions.add_parser("sign", help="sign what another data officer proposes")
    sign.add_argument("proposal", metavar="PROPOSAL", help="the beginning of its digest, as `access show` has it")
    show = actions.add_parser("show", help="people, roles, what waits")
    show.add_argument("--json", action="store_true", help="for programs")
    for each in (begin, propose, sign, show):
        home_option(each)


def _run(options: argparse.Namespace) -> int:
    return {"person": _person, "begin": _begin, "show": _show, "propose": _propose, "sign": _sign}[options.action](
        options
    )


def _person(options: argparse.Namespace) -> int:
    name = checked_name(options.name, "NAME")
    path = options.out or Path(f"{name}.key")
    key = people.make(path, people.new_passphrase() if options.passphrase else None)
    print(f"Key of {name} made in {path}; only {name} may have it. Its public half, for a data officer:\n")
    print(f"    {key.public}\n\nand its fingerprint, to compare when you meet or telephone:\n\n    {key.fingerprint}\n")
    print(f"There: python -m client access propose --add {name} {key.public[:4]}… ROLE,ROLE")
    return 0


def _begin(options: argparse.Namespace) -> int:
    policy = begin_policy(SiteFolder.at(options.home), options.person)
    print(f"The policy is begun: {policy.content.people[0].name} has all roles. Next: a second data officer.")
    return 0


def _show(options: argparse.Namespace) -> int:
    home, console = options.here, terminal.console()
    policy = policy_store(home).in_force()
    content = policy.content
    if options.json:
        you = options.actor.person.name
        print(json.dumps({"you": you, "digest": policy.digest, **content.model_dump(mode="json")}, indent=1))
        return 0
    console.print(
        f"Policy of site {content.site}, version {content.version} ({policy.digest[:8]}), made {day(content.made_s)}."
    )
    console.print(f"Plans may be approved for: {', '.join(content.purposes) or 'nothing'}.", markup=False)
    if content.archives:
        console.print(f"Results may be sent to: {'; '.join(content.archives)}.", markup=False)
    if content.plugins:
        console.print(f"Plug-ins that plans may use: {'; '.join(content.plugins)}.", markup=False)
    console.print(people_table(content, short_keys=console.is_terminal))
    console.print(rules_table())
    if alone := lone_officer_warning(content):
        console.print(alone)
    if proposal := policy_store(home).proposal():
        show_proposal(policy, proposal)
    return 0


def _propose(options: argparse.Namespace) -> int:
    home, actor = options.here, options.actor
    before = policy_store(home).in_force()
    try:
        content = changed_content(before, options)
    except ValidationError as error:
        raise ConfigError(f"access propose: {error.errors()[0]['msg']}: {error.errors()[0]['input']!r}.") from None
    policy = SitePolicy.write(content, []).also_signed(actor.signer, before)
    show_changes(before, policy)
    _submit(home, policy, options)
    return 0


def _sign(options: argparse.Namespace) -> int:
    home, actor = options.here, options.actor
    proposal = policy_store(home).proposal()
    if proposal is None or len(options.proposal) < 8 or not proposal.digest.startswith(options.proposal):
        waits = f"{proposal.digest[:8]} waits" if proposal else "nothing waits"
        raise ConfigError(f"{options.proposal}: no such proposal; {waits}. Read it first: python -m client access show")
    proposal.missing(policy_store(home).in_force(), time.time())
    if bytes.fromhex(actor.signer.public) in proposal.document.signatures:
        raise ConfigError(f"{actor.person.name} has signed it already; another {OFFICER} has to.")
    show_changes(policy_store(home).in_force(), proposal)
    _submit(home, proposal.also_signed(actor.signer, policy_store(home).in_force()), options)
    return 0


def _submit(home: SiteFolder, policy: SitePolicy, options: argparse.Namespace) -> None:
    options.act.facts |= {"version": policy.content.version, "digest": policy.digest}
    if policy_store(home).offer(policy):
        print(f"Version {policy.content.version} of the policy is in force.")
        if alone := lone_officer_warning(policy.content):
            print(alone)
    else:
        print(f"It waits for a second {OFFICER}: python -m client access sign {policy.digest[:8]} --as KEY")


def _audit() -> Command:
    """The log's commands; here `verify` looks at what people signed as well."""
    command = log_view.command("client", home_option, lambda options: SiteFolder.at(options.home).log)

    def run(options: argparse.Namespace) -> int:
        status = command.run(options)
        if options.action == "verify" and not options.file:
            home = SiteFolder.at(options.home)
            print(f"Signed by people, and theirs: {signed_entries.verify_all(home.log, policy_store(home))} entries.")
        return status

    return replace(command, run=run)


COMMANDS = {
    "access": Command(ACCESS, _arguments, _run),
    "audit": _audit(),
}
