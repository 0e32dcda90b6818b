"""What people sign beside documents: a kind, and a content in its canonical form. No kind passes for another."""

from collections.abc import Mapping
from typing import Any, Literal

from common.trust.documents import canonical
from common.trust.keys import digest

StatementKind = Literal["act", "command", "policy"]
"""An entry of a site's log, a command at its door, a version of its policy (a document)."""


def statement(kind: StatementKind, content: Mapping[str, Any]) -> bytes:
    """What is signed: 32 bytes."""
    return digest("paper/policy" if kind == "policy" else kind, canonical(dict(content)))
