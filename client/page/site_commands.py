"""Commands of `python -m client`, given by the page: the very ones that are typed, in the name of the page's person."""

import argparse
import io
import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client.access import door
from client.access.command_request import Signer
from client.access.permissions import RULES, rule_name
from common.cli.command import Command, exit_status, parse
from common.errors import ConsiliumError, RunError

ME_S = 30.0
_ONE_AT_A_TIME = threading.Lock()
"""In a folder of one's own, what a command prints goes to this process's streams: two at once would be mixed."""


@dataclass(frozen=True)
class CommandAnswer:
    """How a command ended, and what it printed."""

    status: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """What it said, for people."""
        return "\n".join(filter(None, (self.output.strip(), self.errors.strip().removeprefix("error: "))))

    def json(self) -> Any:
        """What it printed for programs.

        Raises:
            RunError: it could not; in its own words.
        """
        try:
            return json.loads(self.output)
        except ValueError:
            raise RunError(self.words or "the command said nothing.") from None


@dataclass(frozen=True)
class SiteCommands:
    """Whoever is logged in, as giver of commands.

    Args:
        home: the site's folder.
        key: the person's, open.
        commands: all of `python -m client`, behind the gate.
    """

    home: Path
    key: Signer
    commands: Mapping[str, Command]
    _last_user: list[tuple[float, "PageUser"]] = field(default_factory=list, repr=False, compare=False)
    """Who they were last, and when that was asked."""

    def ask_all(self, *commands: Sequence[str]) -> list[CommandAnswer]:
        """Several commands, which wait for one another in a folder of one's own, and not at a door."""
        with ThreadPoolExecutor(len(commands)) as pool:
            return [*pool.map(lambda words: self.ask(*words), commands)]

    def ask(self, *words: str) -> CommandAnswer:
        """Give a command, which the gate lets in or not, and wait for its end."""
        command, options = parse("python -m client", None, self.commands, [*words, "--home", str(self.home)])
        if door.is_anothers(self.home):
            return self._ask_at_the_door(options)
        options.as_key = self.key
        with _ONE_AT_A_TIME, redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
            status = exit_status(lambda: command.run(options), command.interrupted)
        return CommandAnswer(status, output.getvalue(), errors.getvalue())

    def _ask_at_the_door(self, options: argparse.Namespace) -> CommandAnswer:
        try:
            reply = door.answer(self.home, options.line, rule_name(options), self.key, options=options)
        except ConsiliumError as error:
            return CommandAnswer(2, "", f"{error} [{error.code}: docs/errors.md]")
        return CommandAnswer(reply.status, reply.output, reply.errors)

    def me(self) -> "PageUser":
        """Who they are under the policy, as of half a minute ago at most: it is for what is shown. The gate asks anew.

        Raises:
            RunError: nobody.
        """
        if self._last_user and time.monotonic() - self._last_user[-1][0] < ME_S:
            return self._last_user[-1][1]
        policy = self.ask("access", "show", "--json").json()
        (person,) = (each for each in policy["people"] if each["name"] == policy["you"])
        user = PageUser(str(policy["site"]), str(policy["you"]), frozenset(person["roles"]))
        self._last_user[:] = [(time.monotonic(), user)]
        return user


@dataclass(frozen=True)
class PageUser:
    """The person whose page it is."""

    site: str
    name: str
    roles: frozenset[str]

    def may(self, action: str) -> bool:
        """Whether a row of the table of permissions has one of their roles; the page asks for nothing else."""
        return bool(self.roles & set(RULES[action].roles or ()))

    @property
    def label(self) -> str:
        """As the page's head names them."""
        return f"{self.site} · {self.name}"

    @property
    def words(self) -> str:
        """Who they are, with their roles."""
        return f"{self.name}, {', '.join(sorted(self.roles)) or 'no role'}"
