"""What this site has ever answered, and together with whom: the same question is not answered over other sites.

Two sums of one question over A and over A without x differ by the vector of x, each of them properly masked; and two
over the same sites, of which one has other images by then, differ by those images. So what a sum tells is written down,
array by array (`common.messages.answer_layout.answers`), for all runs of this site and for good.

A record is 96 bytes: what was answered, over whom with which images, in which plan. Records are only ever appended; one
that a crash has cut short was never relied on, and is taken off.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.errors import PolicyError
from common.storage import file_lock, tensorfile
from common.trust.keys import DIGEST_BYTES

RECORD_BYTES = 3 * DIGEST_BYTES


@dataclass(frozen=True)
class Answered:
    """With whom something was answered."""

    over: bytes
    """`Approvals.data_of` the sites in the sum."""
    plan: str
    """Digest of the plan."""


@dataclass
class Ledger:
    """All that one site has answered.

    Args:
        read: all records so far.
        append: adds records, durably, before it returns.
        lock: keeps every other process and thread away for a block.
    """

    read: Callable[[], bytes]
    append: Callable[[bytes], None]
    lock: Callable[[], AbstractContextManager[None]] = nullcontext

    def refuse_other(self, keys: Iterable[bytes], over: bytes, site: str) -> None:
        """Hold a sum that is about to be made against all that were.

        Raises:
            PolicyError: some of it was told before over other sites, or over the same with other images.
        """
        records = self._records()
        for key in keys:
            if (earlier := records.get(key)) and earlier.over != over:
                raise PolicyError(
                    "repeated-question",
                    f"{site}: the same was asked in plan {earlier.plan[:8]}, over other sites or other images; the two "
                    "sums would differ by what single sites, or single images, are. Expected a plan that carries the "
                    "earlier sums (server run), or asks something else.",
                )

    def has(self, keys: Iterable[bytes], over: bytes) -> bool:
        """Whether all of it was told before, over just these sites and images."""
        records = self._records()
        return all((earlier := records.get(key)) and earlier.over == over for key in keys)

    def record(self, keys: Iterable[bytes], over: bytes, plan: str) -> None:
        """Write down what is about to be told; what is there already stays as it is."""
        earlier = self._records()
        records = [key + over + bytes.fromhex(plan) for key in dict.fromkeys(keys) if key not in earlier]
        if records:
            self.append(b"".join(records))

    def plans_of(self, keys: Iterable[bytes]) -> set[str]:
        """Digests of the plans in which any of this was answered first."""
        records = self._records()
        return {records[key].plan for key in keys if key in records}

    def _records(self) -> dict[bytes, Answered]:
        content, size, records = self.read(), DIGEST_BYTES, dict[bytes, Answered]()
        for at in range(0, len(content) - RECORD_BYTES + 1, RECORD_BYTES):
            key, over, plan = (content[at + i * size : at + (i + 1) * size] for i in range(3))
            records.setdefault(key, Answered(over, plan.hex()))
        return records


@dataclass
class _Memory:
    content: bytearray = field(default_factory=bytearray)


def in_memory() -> Ledger:
    """A ledger of a simulated site, for as long as the program runs."""
    memory = _Memory()
    return Ledger(lambda: bytes(memory.content), memory.content.extend)


def in_folder(folder: Path) -> Ledger:
    """The ledger of a hospital, in its folder."""
    path = folder / "ledger"
    return Ledger(partial(_read, path), partial(_append, path), lambda: file_lock.hold(folder / "ledger.lock"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _append(path: Path, records: bytes) -> None:
    with tensorfile.naming(path), path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.truncate(size - size % RECORD_BYTES)
        file.write(records)
        file.flush()
        os.fsync(file.fileno())
