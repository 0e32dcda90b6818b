"""One program for all who take part:

    consilium client …             a hospital's commands
    consilium server …             a coordinator's commands
    consilium simulate …           a federation of simulated hospitals on one machine
    consilium completion SHELL     what completes all of these: source <(consilium completion bash)

Each has a --help. What pages and messages call `python -m client`, `python -m server` and `python simulate.py` are the
same commands, in the same environment.
"""

import argparse
import sys
from importlib import import_module

from common.cli import interrupt
from common.cli.command import CommandParser, CommandTable

PROGRAMS = {"client": "client.__main__", "server": "server.__main__", "simulate": "simulate"}


def run() -> None:
    """The console script."""
    interrupt.arm()  # before the rest is imported, which takes seconds
    interrupt.program(main)


def main() -> int:
    """Hand the rest of the command line to one of the programs; its exit status."""
    from common.trust.release import VERSION

    parser = CommandParser("consilium", description=__doc__)
    parser.add_argument("--version", action="version", version=f"consilium {VERSION}")
    parser.add_argument("program", metavar="PROGRAM", choices=[*PROGRAMS, "completion"], help="one of these")
    program, words = parser.parse_args(sys.argv[1:2]).program, sys.argv[2:]
    if program == "completion":
        return _print_completion(words)
    status: int = import_module(PROGRAMS[program]).main(words)
    return status


def whole_parser() -> argparse.ArgumentParser:
    """Every program with every command and option, as a shell is to know them."""
    parser = argparse.ArgumentParser("consilium")
    programs = parser.add_subparsers()
    for name, place in PROGRAMS.items():
        program, module = programs.add_parser(name, help=name), import_module(place)
        if name == "simulate":
            module.add_arguments(program)
            continue
        commands, table = program.add_subparsers(), module.COMMANDS
        assert isinstance(table, CommandTable)  # noqa: S101
        for command in table:
            table[command].arguments(commands.add_parser(command, help=command))
    return parser


def _print_completion(words: list[str]) -> int:
    import shtab

    parser = CommandParser("consilium completion", description="Print what a shell reads to complete commands.")
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    print(shtab.complete(whole_parser(), parser.parse_args(words).shell))
    return 0
