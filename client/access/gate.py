"""The one place where a command is let in: who gives it, whether their role may, and a line in the site's log."""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from client.access import permissions
from client.access.people import PersonKey, open_key, path_of
from client.access.permissions import RULES, CommandRule, Role
from client.access.policy import Person, SitePolicy
from client.access.policy_store import policy_store
from client.access.signed_entries import sign
from client.home import Home
from client.sources.case_table import located
from common.audit import acts
from common.audit.entries import plain
from common.audit.log import Log
from common.cli.command import Command
from common.errors import AccessError, ConfigError

NO_KEY, UNKNOWN, EXPIRED, NO_ROLE, NO_ROW = "no key", "unknown key", "not their time", "not their role", "no row"


@dataclass(frozen=True)
class Actor:
    """Who gives a command, as what, and under which version of the policy."""

    person: Person
    role: Role
    key: PersonKey
    policy: SitePolicy

    @property
    def label(self) -> str:
        """The actor as the log names it: `ana as data-officer`."""
        return f"{self.person.name} as {self.role}"


def guard(name: str, command: Command) -> Command:
    """The same command behind the gate; its help says who may."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        command.arguments(parser)
        for leaf in _leaves(parser):
            leaf.add_argument(
                "--as", dest="as_key", type=Path, metavar="KEY", help="the file of your key (HOME/me.key)"
            )

    def run(options: argparse.Namespace) -> int:
        rule = RULES.get(action := permissions.rule_name(options))
        if rule is not None and rule.roles is None:
            return (acts.recorded(command, action, _log) if rule.recorded else command).run(options)
        home = _home(options)
        actor = admit(home, action, options.as_key)
        options.actor = actor
        if not RULES[action].recorded:
            return command.run(options)

        def run_signed(options: argparse.Namespace) -> int:
            status = command.run(options)
            act = options.act
            act.outcome = act.outcome or ("failed" if status else "done")
            act.facts |= sign(home.site, action, act, actor.policy.content.version, actor.key)
            return status

        def log(options: argparse.Namespace) -> Log | None:
            site_log = _log(options) if action == "restore" else home.log
            return site_log and replace(site_log, role=actor.label)

        return acts.recorded(replace(command, run=run_signed), action, log).run(options)

    return replace(
        command, arguments=arguments, run=run, teaching=f"{command.teaching}\n\n{permissions.describe_rules(name)}"
    )


def admit(home: Home, action: str, key_file: Path | None = None) -> Actor:
    """Who gives this command, if they may.

    Raises:
        AccessError: nobody that the policy lets do it. The site's log says so then.
        ConfigError: there is no site here, or its folder is another system user's.
    """
    _refuse_others_folder(home, action)
    rule = RULES.get(action)
    with _refusals(home, action) as why:
        if rule is None or rule.roles is None:
            why["refused"] = NO_ROW
            raise AccessError(f"{action}: no role may do this here; client/access/permissions.py has no row for it.")
        policy = policy_store(home).in_force()
        why["policy"] = policy.content.version
        why["refused"] = NO_KEY
        try:
            key = open_key(path_of(key_file, home.folder))
        except AccessError as error:
            raise AccessError(f"{error} For `{action}`: {_needed(rule, policy)}") from None
        return _actor(action, rule, policy, key, why)


def _actor(action: str, rule: CommandRule, policy: SitePolicy, key: PersonKey, why: dict[str, int | str]) -> Actor:
    person = policy.content.person(key.public)
    if person is None:
        why["refused"] = UNKNOWN
        raise AccessError(
            f"{action}: the key {key.public[:8]}… is nobody's under this site's policy. {_needed(rule, policy)}"
        )
    why["person"] = person.name
    if not person.active(time.time()):
        why["refused"] = EXPIRED
        raise AccessError(f"{action}: the time of {person.name} has ended, or not begun. {_needed(rule, policy)}")
    role = next((role for role in rule.roles or () if role in person.roles), None)
    if role is None:
        why["refused"] = NO_ROLE
        has = ", ".join(person.roles) or "no role"
        raise AccessError(f"{action}: {person.name} is {has}, and may not. {_needed(rule, policy)}")
    return Actor(person, role, key, policy)


@contextmanager
def _refusals(home: Home, action: str) -> Iterator[dict[str, int | str]]:
    """Whoever is refused is written down."""
    why: dict[str, int | str] = {"refused": "policy"}
    try:
        yield why
    except AccessError:
        home.log.record(plain(action), "failed", facts={**why, "error": AccessError.code})
        raise


def _needed(rule: CommandRule, policy: SitePolicy) -> str:
    """Which role would do, and who has it."""
    has = [person.name for person in policy.content.people
           if set(rule.roles or ()) & set(person.roles) and person.active(time.time())]  # fmt: skip
    return f"It needs the role {permissions.role_names(rule)}: {', '.join(has) or 'nobody has it'}."


def _home(options: argparse.Namespace) -> Home:
    """The site whose policy counts: that of --home, of an encrypted data set, or from whose folder one is restored."""
    if options.command == "restore":
        return Home.at(options.old)
    if (data := permissions.encrypted_data(options) if hasattr(options, "config") else None) is not None:
        return Home.at(data.home or located(data.path).parent.parent)
    return Home.at(getattr(options, "home", Path("site")))


def _log(options: argparse.Namespace) -> Log | None:
    """That of a folder in which there may be no site yet."""
    return Home(options.home).log if (options.home / "site.yaml").exists() else None


def _refuse_others_folder(home: Home, action: str) -> None:
    if (owner := home.folder.stat().st_uid) != os.geteuid():
        raise ConfigError(
            f"{home.folder}: belongs to user {owner}, and this is user {os.geteuid()}, who may not {action} there. Run "
            "it as the owner, so that the site can read what comes of it."
        )


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers below one that have no parsers below them."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for name in sorted(action.choices):
            yield from _leaves(action.choices[name])
    if not below:
        yield parser
