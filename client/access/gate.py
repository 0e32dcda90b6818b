"""The one place where a command is let in: who gives it, whether their role may, and a line in the site's log."""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from client.access import door, permissions
from client.access.command_request import CommandRequest, Signer, new_challenge
from client.access.people import open_key, path_of
from client.access.permissions import RULES, CommandRule
from client.access.policy import Person, SitePolicy
from client.access.policy_store import policy_store
from client.access.signed_entries import UID, sign
from client.admission import Admission
from client.home import Home, SiteFolder
from client.sources.case_table import located
from common.audit import acts
from common.audit.entries import plain
from common.audit.log import Log, user
from common.cli.command import Command
from common.config import Encrypted
from common.errors import AccessError, ConfigError, IdentityError

NO_KEY, UNKNOWN, EXPIRED, NO_ROLE, NO_ROW = "no key", "unknown key", "not their time", "not their role", "no row"
NO_SIGNATURE = "no signature"
PAGE = "page"


@dataclass(frozen=True)
class Actor:
    """Who gives a command, as what, and under which version of the policy."""

    person: Person
    signer: Signer
    admission: Admission

    @property
    def label(self) -> str:
        """The actor as the log names it: `ana as data-officer`."""
        return f"{self.admission.person} as {self.admission.role}"


# --- whether somebody may --------------------------------------------------------------------------------------------


def check(site: SiteFolder, request: CommandRequest, uid: int, challenge: str) -> tuple[Admission, Person]:
    """The one decision, for a command line in its own folder and for whoever comes to the door of a site.

    Args:
        uid: the system user whose process asks, as the kernel says.
        challenge: what was given to that process, once, to be signed with the command.

    Raises:
        AccessError, IdentityError: it was not signed by somebody whom the policy lets do it, now. The log says so then.
    """
    with _refusals(site, request.action, uid) as why:
        rule, policy = _rule(request.action, why), policy_store(site).in_force()
        why |= {"policy": policy.content.version, "refused": NO_SIGNATURE}
        request.demand(site.site, uid, challenge)
        person = _person(request.action, rule, policy, request.public, why)
        role = next((role for role in rule.roles or () if role in person.roles), None)
        if role is None:
            why["refused"] = NO_ROLE
            has = ", ".join(person.roles) or "no role"
            raise AccessError(f"{request.action}: {person.name} is {has}, and may not. {_needed(rule, policy)}")
        version = policy.content.version
        return Admission.grant(site.folder, request.action, person.name, role, version, uid), person


def admit(
    site: SiteFolder, action: str, key: Path | Signer | None = None, words: Sequence[str] = ()
) -> Actor:  # fmt: skip
    """Who gives this command in a folder of their own, if they may.

    Args:
        key: the file of their key (None: where it is looked for), or the key itself where it is open already.

    Raises:
        AccessError: nobody that the policy lets do it. The site's log says so then.
        ConfigError: the folder is another system user's.
    """
    _refuse_others_folder(site, action)
    with _refusals(site, action, os.geteuid()) as why:
        rule, policy = _rule(action, why), policy_store(site).in_force()
        why |= {"policy": policy.content.version, "refused": NO_KEY}
        try:
            if key is None or isinstance(key, Path):
                key = open_key(path_of(key, site.folder))
        except AccessError as error:
            raise AccessError(f"{error} For `{action}`: {_needed(rule, policy)}") from None
    challenge = new_challenge()
    request = CommandRequest.make(site.site, action, words, {}, os.geteuid(), challenge, key)
    admission, person = check(site, request, os.geteuid(), challenge)
    return Actor(person, key, admission)


def let_in(site: SiteFolder, action: str) -> Home:
    """A site in a folder of one's own with its keys, for a program that is no command of `python -m client`.

    Raises:
        AccessError, ConfigError: as `admit`.
    """
    return Home(site.folder, admit(site, action).admission)


def let_in_for(data: Encrypted, action: str) -> Home:
    """The site whose encrypted data set this is.

    Raises:
        AccessError, ConfigError: as `admit`.
    """
    return let_in(SiteFolder.at(_folder_of(data)), action)


def admit_founder(folder: Path) -> Home:
    """A site that is made just now, of a backup, by whoever has its recovery key: the folder is new, and theirs.

    Raises:
        ConfigError: the folder is another system user's.
    """
    if folder.exists():
        _refuse_others_folder(SiteFolder(folder), "restore")
    return Home(folder, Admission.grant(folder, "restore --recovery", user(), "founder", 0, os.geteuid()))


def hand_over(admission: Admission, person: Person, request: CommandRequest) -> dict[str, Any]:
    """A decision as the resident process hands it to the worker that it starts."""
    return {"request": request.to_json(), "role": admission.role, "policy": admission.policy,
            "person": person.model_dump(mode="json")}  # fmt: skip


def take_over(site: SiteFolder, grant: Mapping[str, Any]) -> tuple[CommandRequest, Admission, Person]:
    """The decision that the resident process handed to this worker, which it started: it is not made a second time."""
    request, person = CommandRequest.from_json(grant["request"]), Person.model_validate(grant["person"], strict=False)
    admission = Admission.grant(site.folder, request.action, person.name, grant["role"], grant["policy"], request.uid)
    return request, admission, person


def note_stranger(site: SiteFolder, uid: int) -> None:
    """Write down that somebody came to the site's door with what is no command."""
    site.log.record("door", "failed", facts={"refused": "no command", UID: uid, "error": AccessError.code})


def _rule(action: str, why: dict[str, int | str]) -> CommandRule:
    rule = RULES.get(action)
    if rule is None or rule.roles is None:
        why["refused"] = NO_ROW
        raise AccessError(f"{action}: no role may do this here; client/access/permissions.py has no row for it.")
    return rule


def _person(action: str, rule: CommandRule, policy: SitePolicy, public: str, why: dict[str, int | str]) -> Person:
    person = policy.content.person(public)
    if person is None:
        why["refused"] = UNKNOWN
        raise AccessError(
            f"{action}: the key {public[:8]}… is nobody's under this site's policy. {_needed(rule, policy)}"
        )
    why["person"] = person.name
    if not person.active(time.time()):
        why["refused"] = EXPIRED
        raise AccessError(f"{action}: the time of {person.name} has ended, or not begun. {_needed(rule, policy)}")
    return person


# --- commands behind it ----------------------------------------------------------------------------------------------


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
            options.here = admit_founder(options.home) if options.command == "restore" else None
            return (acts.recorded(command, action, _log) if rule.recorded else command).run(options)
        if door.is_anothers(folder := _folder(options)):
            return _at_the_door(command, options, action, folder)
        site = SiteFolder.at(folder)
        return run_admitted(command, options, site, admit(site, action, options.as_key))

    return replace(
        command, arguments=arguments, run=run, teaching=f"{command.teaching}\n\n{permissions.describe_rules(name)}"
    )


def _at_the_door(command: Command, options: argparse.Namespace, action: str, folder: Path) -> int:
    """A command at a site whose folder is another system user's."""
    key = options.as_key
    options.signer = key if key is not None and not isinstance(key, Path) else open_key(path_of(key, None))
    if action == PAGE:  # it is this process that shows it, and gives its commands at the door
        return command.run(options)
    return door.give(folder, options.line, action, options.signer, options=options)


def run_admitted(command: Command, options: argparse.Namespace, site: SiteFolder, actor: Actor) -> int:
    """Run a command for whoever was let in; what they did stands in the log under their signature."""
    action = actor.admission.action
    options.actor, options.signer, options.here = actor, actor.signer, Home(site.folder, actor.admission)
    if not RULES[action].recorded:
        return command.run(options)

    def run_signed(options: argparse.Namespace) -> int:
        status = command.run(options)
        act = options.act
        act.outcome = act.outcome or ("failed" if status else "done")
        act.facts |= sign(site.site, action, act, actor.admission, actor.signer)
        return status

    def log(options: argparse.Namespace) -> Log | None:
        site_log = _log(options) if action == "restore" else site.log
        return site_log and replace(site_log, role=actor.label)

    return acts.recorded(replace(command, run=run_signed), action, log).run(options)


@contextmanager
def _refusals(site: SiteFolder, action: str, uid: int) -> Iterator[dict[str, int | str]]:
    """Whoever is refused is written down."""
    why: dict[str, int | str] = {"refused": "policy", UID: uid}
    try:
        yield why
    except (AccessError, IdentityError) as error:
        site.log.record(plain(action), "failed", facts={**why, "error": error.code})
        raise


def _needed(rule: CommandRule, policy: SitePolicy) -> str:
    """Which role would do, and who has it."""
    has = [person.name for person in policy.content.people
           if set(rule.roles or ()) & set(person.roles) and person.active(time.time())]  # fmt: skip
    return f"It needs the role {permissions.role_names(rule)}: {', '.join(has) or 'nobody has it'}."


def _folder(options: argparse.Namespace) -> Path:
    """The site whose policy counts: that of --home, of an encrypted data set, or from whose folder one is restored."""
    if options.command == "restore":
        return Path(options.old)
    if (data := permissions.encrypted_data(options) if hasattr(options, "config") else None) is not None:
        return _folder_of(data)
    return Path(getattr(options, "home", "site"))


def _folder_of(data: Encrypted) -> Path:
    return data.home or located(data.path).parent.parent


def _log(options: argparse.Namespace) -> Log | None:
    """That of a folder in which there may be no site yet."""
    return SiteFolder(options.home).log if (options.home / "site.yaml").exists() else None


def _refuse_others_folder(site: SiteFolder, action: str) -> None:
    if (owner := site.folder.stat().st_uid) != os.geteuid():
        raise ConfigError(
            f"{site.folder}: belongs to user {owner}, and this is user {os.geteuid()}, who may not {action} there. Run "
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
