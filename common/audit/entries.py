"""One entry of the log: a line of JSON, whose bytes are what the tree is over.

Entries hold names of plans, data sets, sites, roles and system users, counts and error codes. There is no room in them
for what they must not hold: a text has no slash in it, so that it is no path, and is short.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from common.config import Frozen
from common.errors import AuditError
from common.trust.documents import canonical

Outcome = Literal["begun", "done", "failed"]
MOST_TEXT = 120
_ALLOWED = "A-Za-z0-9_ .,:;@$+()=-"
_ODD = re.compile(f"[^{_ALLOWED}]")

Text = Annotated[str, Field(pattern=f"^[{_ALLOWED}]*$", max_length=MOST_TEXT)]
Fact = Annotated[int, Field(strict=True, ge=-(2**62), le=2**62)] | Text


class Entry(Frozen):
    """One line of the log: a thing that was done, when, by whom, and how it ended."""

    number: Annotated[int, Field(ge=0)]
    at_s: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
    """Seconds since 1970, UTC, by this machine's clock."""
    what: Text
    outcome: Outcome
    """`begun` without `done` or `failed` behind it: the process was killed meanwhile."""
    user: Text = ""
    """The system user whose process it was."""
    role: Text = ""
    """By which role it was allowed."""
    plan: Text = ""
    dataset: Text = ""
    """Name and identity."""
    facts: dict[Text, Fact] = Field(default_factory=dict)

    def encode(self) -> bytes:
        """As the line, without its end."""
        return canonical(self.model_dump(mode="json"))


def decode(line: bytes, number: int, name: str) -> Entry:
    """Read the entry of one line of the log.

    Args:
        number: which it must be.
        name: the log's, for messages.

    Raises:
        AuditError: it is not what `encode` makes of any entry, or another entry.
    """
    try:
        entry = Entry.model_validate(json.loads(line))
    except (ValueError, RecursionError, ValidationError):
        entry = None
    if entry is None or entry.encode() != line or entry.number != number:
        raise AuditError(f"{name}: entry {number} is not what was written there.")
    return entry


def plain(text: str) -> str:
    """A text that fits into an entry: what does not belong there becomes `_`."""
    return _ODD.sub("_", text)[:MOST_TEXT]


def plain_facts(facts: Mapping[str, int | str]) -> dict[str, int | str]:
    """Facts that fit into an entry."""
    return {plain(name): plain(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
