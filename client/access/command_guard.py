"""Every command of `python -m client` behind the gate: in a folder of one's own here, in another's at its door."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from client.access import door, permissions
from client.access.gate import Actor, admit, admit_founder, folder_of
from client.access.people import open_key, path_of
from client.access.permissions import RULES
from client.access.signed_entries import sign
from client.home import Home, SiteFolder
from common.audit import acts
from common.audit.log import Log
from common.cli.command import Command

PAGE = "page"


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


def _folder(options: argparse.Namespace) -> Path:
    """The site whose policy counts: that of --home, of an encrypted data set, or from whose folder one is restored."""
    if options.command == "restore":
        return Path(options.old)
    if (data := permissions.encrypted_data(options) if hasattr(options, "config") else None) is not None:
        return folder_of(data)
    return Path(getattr(options, "home", "site"))


def _log(options: argparse.Namespace) -> Log | None:
    """That of a folder in which there may be no site yet."""
    return SiteFolder(options.home).log if (options.home / "site.yaml").exists() else None


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers below one that have no parsers below them."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for name in sorted(action.choices):
            yield from _leaves(action.choices[name])
    if not below:
        yield parser
