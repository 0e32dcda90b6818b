"""Command lines: subcommands that teach, and one message without a traceback for what the user can mend."""

import argparse
import gc
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from common.cli import interrupt
from common.cli.harmless import UNBOUNDED, spell_out_what_cannot_be_shown
from common.errors import ConsiliumError, SecAggError

CLOSED = 141
"""Exit status where who reads the output has gone, as of any program that SIGPIPE ends: `… | head`."""
OBJECTS_A_LOOK = 20_000
"""So many new ones before the newest are looked through for garbage."""


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    teaching: str
    """What it does, and an example to copy."""
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    interrupted: str = "nothing was left half done."
    """What to say after Ctrl-C."""


class CommandTable(Mapping[str, Command]):
    """All commands of a program by name. A command's module is imported when it is asked for: no other waits for it.

    Args:
        places: where each is: the module whose `COMMANDS` has it, or what makes it.
        finish: what is laid around each, from its name and itself.
    """

    def __init__(
        self, places: Mapping[str, str | Callable[[], Command]], finish: Callable[[str, Command], Command]
    ) -> None:
        self._places, self._finish = places, finish

    def __getitem__(self, name: str) -> Command:
        place = self._places[name]
        command = import_module(place).COMMANDS[name] if isinstance(place, str) else place()
        return self._finish(name, command)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help as everything else: wrapped on a screen, and in a pipe or a file a line an option, whatever COLUMNS says."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=None if sys.stdout.isatty() else UNBOUNDED)


class CommandParser(argparse.ArgumentParser):
    """A parser of arguments with descriptions as they are written and help that no pipe wraps; subparsers too."""

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        super().__init__(prog, formatter_class=_Help, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; where words follow one another without an end (PLAN key=value …), options may stand among them.

        Args:
            args, namespace: as argparse has them.
        """
        endless = [action.nargs for action in self._get_positional_actions()]
        if argparse.ZERO_OR_MORE in endless and argparse.PARSER not in endless:
            return self.parse_intermixed_args(args, namespace)
        return super().parse_args(args, namespace)


def dispatch(
    prog: str, about: str | None, commands: Mapping[str, Command], arguments: Sequence[str] | None = None
) -> int:
    """Run a subcommand. Exit status 2 for an error that the user can mend, 130 when interrupted, else the command's."""
    spell_out_what_cannot_be_shown()
    # What is imported stays, and to look through it for garbage at every 700th object is a tenth of a short command.
    gc.set_threshold(OBJECTS_A_LOOK)
    words = sys.argv[1:] if arguments is None else list(arguments)
    command, options = parse(prog, about, commands, words)
    return exit_status(lambda: command.run(options), command.interrupted)


def parse(
    prog: str, about: str | None, commands: Mapping[str, Command], words: Sequence[str]
) -> tuple[Command, argparse.Namespace]:  # fmt: skip
    """A command line: which subcommand it is, and its options. Exits where it is none."""
    first = CommandParser(prog, description=about)
    first.add_argument("command", metavar="COMMAND", choices=commands, help="one of these; each has a --help")
    name = first.parse_args(words[:1]).command
    command = commands[name]
    parser = CommandParser(f"{prog} {name}", description=command.teaching)
    command.arguments(parser)
    return command, parser.parse_args(words[1:], argparse.Namespace(command=name, line=list(words)))


def exit_status(run: Callable[[], int], interrupted: str) -> int:
    """As `outcome`, and say what an interruption left."""
    if (status := outcome(run)) == interrupt.STATUS:
        print(f"\ninterrupted; {interrupted}", file=sys.stderr)
    return status


def outcome(run: Callable[[], int]) -> int:
    """Run a command. 2 for an error that the user can mend, 130 when interrupted, 141 when nobody reads its output any
    more, else what the command returns."""
    try:
        status = interrupt.raising(run)
        sys.stdout.flush()  # what reads a pipe may be gone: said here, and not when Python has ended
    except ConsiliumError as error:
        code = f"{error.code}, {error.cause}" if isinstance(error, SecAggError) else error.code
        print(f"error: {error} [{code}: docs/errors.md]", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return CLOSED
        what = f"{error.filename or _unnamed_place()}: {error.strerror or error}."
        print(f"error: {what} [DISK: docs/errors.md]", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        status = interrupt.STATUS
    return status


def _unnamed_place() -> str:
    """Where an error of the system happened that names no file."""
    try:
        Path.cwd()
    except OSError:
        return "the working folder, which is gone"
    return "a file"


def _nobody_reads() -> bool:
    """Whether the pipe to which the output goes is closed at its other end; what is left for it then goes nowhere."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    look = select.poll()
    look.register(output, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def confirm_fingerprint(question: str, fingerprint: str, typed_fingerprint: str | None) -> bool:
    """Whether a fingerprint was compared: given on the command line, or answered with yes at the terminal.

    Args:
        expected: the fingerprint.
        given: what `--fingerprint` says; spaces do not matter.
    """
    if typed_fingerprint is not None:
        return typed_fingerprint.replace(" ", "") == fingerprint.replace(" ", "")
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [yes/no] ").strip().lower() in ("yes", "y")
