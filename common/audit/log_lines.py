"""The log for where a hospital's logs are collected: a line an entry, as JSON or as syslog (RFC 5424).

An entry holds no secret, no image and no name of a patient. A collector asks again with `--after` the last number that
it has, or follows. What it has is a copy: whether the log is what was written, `audit verify` says.
"""

import json
import re
import socket
import time
from collections.abc import Callable

from common.audit.entries import Entry, decode
from common.audit.log import Log

AUDIT, NOTICE, WARNING = 13, 5, 4
"""RFC 5424: facility "log audit"; severities of what was done, and of what failed."""
LOOK_EVERY_S = 1.0


def as_json(entry: Entry, origin: str) -> str:
    """One object."""
    return json.dumps({"origin": origin, **entry.model_dump(mode="json")}, ensure_ascii=False)


def as_syslog(entry: Entry, origin: str) -> str:
    """One message; the entry's facts are its structured data. 32473 is the number for examples (RFC 5612)."""
    severity = WARNING if entry.outcome == "failed" else NOTICE
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.at_s)) + f".{int(entry.at_s % 1 * 1000):03d}Z"
    data = {
        "origin": origin, "entry": entry.number, "user": entry.user, "role": entry.role, "outcome": entry.outcome,
        "plan": entry.plan, "dataset": entry.dataset, **entry.facts,
    }  # fmt: skip
    fields = " ".join(f'{_name(key)}="{_escaped(str(value))}"' for key, value in data.items() if value != "")
    head = f"<{AUDIT * 8 + severity}>1 {at} {socket.gethostname() or '-'} consilium - {_name(entry.what)}"
    return f"{head} [consilium@32473 {fields}] {entry.what} {entry.outcome}"


FORMATS: dict[str, Callable[[Entry, str], str]] = {"json": as_json, "syslog": as_syslog}


def show(log: Log, name: str, after: int, *, follow: bool) -> int:
    """Print every entry behind a number; following, until Ctrl-C."""
    while True:
        for number, line in enumerate(log.lines()):
            if number > after:
                print(FORMATS[name](decode(line, number, str(log.folder / "log")), log.origin), flush=follow)
                after = number
        if not follow:
            return 0
        time.sleep(LOOK_EVERY_S)


def _name(text: str) -> str:
    """A name as the standard allows it: up to 32 printed letters without blanks, quotes, brackets or `=`."""
    return re.sub(r"[^!#-<>-\\^-~]", "-", text)[:32] or "-"


def _escaped(text: str) -> str:
    return re.sub(r'(["\\\]])', r"\\\1", text).replace("\n", " ")
