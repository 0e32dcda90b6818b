"""One thing that was looked at, in words; all of them on a screen, for programs, and as an exit status."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from rich.text import Text

from common.cli import terminal
from common.errors import ConsiliumError

FINE, SOON, WRONG = 0, 1, 2
"""Exit statuses of `health`, as monitoring systems read them: in order, to be looked at, wrong now."""

H = TypeVar("H")
Checks = Mapping[str, Callable[[H], "Iterator[CheckResult]"]]
"""What is looked at, by its title, from a folder of either side."""


@dataclass(frozen=True)
class CheckResult:
    """One line of what was found."""

    ok: bool
    what: str
    todo: str = ""
    """What to do about it; of something that is in order, before it is not."""


def look_at(checks: Checks[H], home: H) -> Iterator[tuple[str, CheckResult]]:
    """Every result with its title; what stops a check is one."""
    for title, look in checks.items():
        try:
            for result in look(home):
                yield title, result
        except ConsiliumError as error:
            yield title, CheckResult(False, f"{error} [{error.code}]")
        except OSError as error:
            yield title, CheckResult(False, f"{error.filename or ''} {error.strerror or error}".strip())


def health(checks: Checks[H], home: H, *, as_json: bool) -> int:
    """Print what was found, what is wrong first; the exit status."""
    results = sorted(look_at(checks, home), key=lambda one: -_level(one[1]))
    level = max((_level(result) for _, result in results), default=FINE)
    if as_json:
        rows = [{"check": title, "level": _level(result), **vars(result)} for title, result in results]
        print(json.dumps({"level": level, "checks": rows}, indent=1))
        return level
    console = terminal.console()
    marks = {FINE: Text("ok   ", "green"), SOON: Text("soon ", "yellow"), WRONG: Text("WRONG", "red")}
    for title, result in results:
        todo = f" {result.todo}" if result.todo else ""
        console.print(marks[_level(result)], f"{title}: {result.what}.{todo}", highlight=False)
    return level


def _level(result: CheckResult) -> int:
    return WRONG if not result.ok else SOON if result.todo else FINE
