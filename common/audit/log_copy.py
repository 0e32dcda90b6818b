"""A copy of a log to take away: its signed head on the first line, its entries on those behind it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from common.audit.entries import decode
from common.audit.heads import LogHead
from common.audit.log import Log
from common.audit.merkle_tree import Frontier, leaf_hash
from common.errors import AuditError, ConsiliumError
from common.trust.documents import MOST_BYTES, read_document
from common.trust.keys import public_of


@dataclass(frozen=True)
class Copy:
    """A copy of a log that was read and whose every check held."""

    head: LogHead
    key: bytes
    """Whose signature it is under; whether that is the log's key only its owner can say."""

    def refuse_unless_beginning_of(self, log: Log) -> None:
        """Refuse a log that does not begin with this copy, under the same key.

        Raises:
            AuditError: saying what differs.
        """
        if self.key != public_of(log.key()):
            raise AuditError(f"{log.folder}: its key is not the one that signed the copy. One of them is another log.")
        frontier = Frontier()
        for line in islice(log.lines(), self.head.size):
            frontier.append(leaf_hash(line))
        if (frontier.size, frontier.root) != (self.head.size, self.head.root):
            raise AuditError(
                f"{log.folder}: does not begin with the {self.head.size} entries of the copy: it was set back or "
                "written again. Find out who did it; the copy is signed, and is proof."
            )


def write(log: Log) -> Iterator[bytes]:
    """The file, line by line.

    Raises:
        AuditError: the log is not what was written, or there is none.
    """
    head = log.verify().head
    yield json.dumps(head.document.to_json()).encode() + b"\n"
    for number, line in enumerate(log.lines()):
        if number < head.size:
            yield line + b"\n"


def read(file: Path) -> Copy:
    """Check a copy.

    Raises:
        AuditError: it is not whole, or was changed.
        OSError: it cannot be read.
    """
    with file.open("rb") as lines:
        try:
            first = lines.readline(MOST_BYTES)
            (key,) = read_document(first, "head").signatures
            head = LogHead.load_verified(first, key, str(json.loads(first)["content"].get("origin")))
        except (ConsiliumError, ValueError) as error:
            raise AuditError(f"{file}: does not begin with the signed head of a log ({error}).") from None
        frontier = Frontier()
        for line in lines:
            decode(line.removesuffix(b"\n"), frontier.size, str(file))
            frontier.append(leaf_hash(line.removesuffix(b"\n")))
    if (frontier.size, frontier.root) != (head.size, head.root):
        raise AuditError(f"{file}: {frontier.size} entries, and not the {head.size} that its head was signed for.")
    return Copy(head, key)
