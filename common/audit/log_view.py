"""`audit show`, `audit verify` and `audit export`, the same at a site and at the coordinator."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from common.audit import log_copy, log_lines
from common.audit.entries import Entry, decode
from common.audit.heads import LogHead
from common.audit.log import Log
from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.errors import ConfigError
from common.storage import tensorfile
from common.trust.keys import public_of

Arguments = Callable[[argparse.ArgumentParser], None]

TEACHING = """What was done here, when, by whom, for which plan and data set, and how it ended; nothing of patients.

  python -m {who} audit show                          all of it; --what approve, --plan NAME, --since 2026-11-01
  python -m {who} audit verify                        read all of it, and hold it to its signed head
  python -m {who} audit verify --at 1234              the root over its first 1234 entries, to read out
  python -m {who} audit show --lines syslog --follow  a line an entry, for where logs are collected; also json
  python -m {who} audit export chest.audit            a copy to take away, which shows by itself that it is whole
  python -m {who} audit verify chest.audit            check such a copy, anywhere
  python -m {who} audit verify --holds chest.audit    does the log still begin with it?

docs/audit.md says what is recorded, and what a changed log cannot hide."""

LONGEST = 40
LINE = "%Y-%m-%d %H:%M:%S"


def command(who: str, home: Arguments, log_of: Callable[[argparse.Namespace], Log]) -> Command:
    """The command `audit` of `python -m WHO`."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        show = actions.add_parser("show", help="the entries")
        show.add_argument("--what", default="", metavar="EVENT", help="only what begins so: import, round, policy")
        show.add_argument("--plan", default="", metavar="PLAN", help="only of plans whose name begins so")
        show.add_argument("--since", type=_day, metavar="DATE", help="2026-11-01, UTC")
        show.add_argument("--until", type=_day, metavar="DATE", help="to the end of that day")
        show.add_argument("--last", type=int, default=0, metavar="N", help="only so many, the newest")
        show.add_argument("--json", action="store_true", help="for programs")
        show.add_argument("--lines", choices=log_lines.FORMATS, help="a line an entry, to be collected elsewhere")
        show.add_argument("--after", type=int, default=-1, metavar="N", help="with --lines: only after entry N")
        show.add_argument("--follow", action="store_true", help="with --lines: go on with what comes, until Ctrl-C")
        verify = actions.add_parser("verify", help="is it what was written?")
        verify.add_argument("file", nargs="?", type=Path, metavar="FILE", help="an exported copy")
        verify.add_argument("--at", type=int, metavar="N", help="the root over the first so many entries alone")
        verify.add_argument("--holds", type=Path, metavar="COPY", help="does the log begin with this exported copy?")
        export = actions.add_parser("export", help="a copy to take away")
        export.add_argument("file", type=Path, metavar="FILE", help="where to")
        for each in (show, verify, export):
            home(each)

    def run(options: argparse.Namespace) -> int:
        if options.action == "verify" and options.file:
            return _verify_copy(options.file)
        log = log_of(options)
        return {"show": _show, "verify": _verify, "export": _export}[options.action](log, options)

    return Command(TEACHING.format(who=who), arguments, run)


def _show(log: Log, options: argparse.Namespace) -> int:
    if options.lines:
        return log_lines.show(log, options.lines, options.after, follow=options.follow)
    entries = [*_matches(log, options)][-options.last :]
    if options.json:
        print(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
        return 0
    console = terminal.console()
    table = Sheet("entry", "when, UTC", "who", "what", "plan", "data set", "facts", prose=("facts",))
    for entry in entries:
        who = f"{entry.user}, {entry.role}" if entry.role else entry.user
        mark = {"begun": Text("…"), "done": Text(), "failed": Text(" failed", "red")}[entry.outcome]
        facts = ", ".join(
            f"{name} {_short(fact) if console.is_terminal else fact}" for name, fact in entry.facts.items()
        )
        when = time.strftime(LINE, time.gmtime(entry.at_s))
        what = Text.assemble(entry.what, mark)
        table.add(str(entry.number), when, who, what, entry.plan, entry.dataset, facts)
    console.print(table)
    return 0


def _short(fact: int | str) -> str:
    """Digests and signatures by their beginning, on a screen; a pipe, and `audit export`, have all of them."""
    return f"{fact[:8]}…" if isinstance(fact, str) and len(fact) > LONGEST else str(fact)


def _matches(log: Log, options: argparse.Namespace) -> Iterator[Entry]:
    for number, line in enumerate(log.lines()):
        entry = decode(line, number, str(log.folder / "log"))
        since_s = options.since.timestamp() if options.since else 0.0
        until_s = options.until.timestamp() + 86_400 if options.until else float("inf")
        if (
            entry.what.startswith(options.what)
            and entry.plan.startswith(options.plan)
            and since_s <= entry.at_s < until_s
        ):
            yield entry


def _verify(log: Log, options: argparse.Namespace) -> int:
    verification = log.verify()
    if options.at is not None:
        print(f"{options.at:,} entries, root:\n  {log.root_at(options.at).hex()}")
        return 0
    _say(verification.head, public_of(log.key()))
    if verification.after or verification.torn:
        print(f"Behind the head: {verification.after} whole entries, {verification.torn} bytes of one that was cut "
              "short by a crash; the next entry will say so.")  # fmt: skip
    if options.holds:
        log_copy.read(options.holds).refuse_unless_beginning_of(log)
        print(f"It begins with all that {options.holds} holds.")
    if verification.backwards:
        print(f"{verification.backwards} times the machine's clock had gone back.")
    return 0


def _verify_copy(file: Path) -> int:
    copy = log_copy.read(file)
    _say(copy.head, copy.key)
    print("Where the log is, `audit verify --holds` says whether it still begins so.")
    return 0


def _export(log: Log, options: argparse.Namespace) -> int:
    if options.file.exists():
        raise ConfigError(f"{options.file}: exists already, and an exported log is not written over.")
    tensorfile.write_atomically(options.file, log_copy.write(log))
    file: Path = options.file
    print(f"Written to {file}. Check it anywhere: python -m client audit verify {terminal.word(file.name)}")
    return 0


def _say(head: LogHead, key: bytes) -> None:
    when = time.strftime(LINE, time.gmtime(head.at_s))
    print(f"Log of {head.origin}: {head.size:,} entries until {when} UTC.")
    print("Every entry is in its place, and the root over all of them is the one that was signed:")
    print(f"  root  {head.root.hex()}\n  key   {key.hex()}")


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
