"""The messages of a round, each a frozen class with one encoding.

    Start → Masked · Survivors → Agreement · Agreements → Release        Seeds, Sum: what came of it, for auditors

Sites sign theirs. What the coordinator sends is not signed: a site believes nothing of it that it cannot check.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from common.secagg import masks
from common.secagg.envelope import FromSite, Message
from common.secagg.fixedpoint import MAX_WORDS
from common.secagg.message_fields import Members, read_members, refuse_unordered, write_members
from common.secagg.protocol import MAGIC
from common.secagg.shamir import SECRET_BYTES, SHARE_BYTES
from common.secagg.sketch import SKETCH_BYTES, LimbSum
from common.trust.codec import ByteReader, ByteWriter
from common.trust.keys import DIGEST_BYTES, SIGNATURE_BYTES
from common.trust.roster import MAX_SITES


@dataclass(frozen=True)
class Start(Message):
    """The coordinator begins a round: its number, its kind, and the hash of the question."""

    KIND = 7
    slot: int
    """The round's number within the key period, from 0."""
    kind: str
    question: bytes
    """The hash of what is asked."""

    def _write(self, w: ByteWriter) -> ByteWriter:
        return w.u16(self.slot).text(self.kind).raw(self.question)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.u16(), r.text(), r.raw(DIGEST_BYTES))


@dataclass(frozen=True, eq=False)
class Masked(FromSite):
    """A site's vector under its masks."""

    KIND = 8
    words: masks.Words = field(repr=False)
    root: bytes = field(default=b"", kw_only=True)
    """`masks.hash_of(words)`: computed by whoever holds the words, never sent."""

    def in_place(self) -> bytes | memoryview:
        """As `encode`; but where the vector lies in its room, the message is written around it and nothing copied."""
        whole = masks.room_of(self.words)
        if whole is None:
            return self.encode()
        head = ByteWriter().raw(MAGIC).u8(self.KIND).raw(self.context).u16(self.sender)
        start = head.u8(self.words.itemsize).u32(len(self.words)).bytes()
        whole[masks.LEAD_BYTES - len(start) : masks.LEAD_BYTES] = np.frombuffer(start, np.uint8)
        whole[len(whole) - masks.TAIL_BYTES :] = np.frombuffer(self.signature, np.uint8)
        return whole.data[masks.LEAD_BYTES - len(start) :]

    def _content(self) -> tuple[bytes, ...]:
        return (self.root,)

    def _body(self, w: ByteWriter) -> ByteWriter:
        return w.u8(self.words.itemsize).u32(len(self.words)).raw(self.words.data.cast("B"))

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        context, sender, size, length = r.raw(DIGEST_BYTES), r.u16(), r.u8(), r.u32()
        if size not in (4, 8) or length > MAX_WORDS:
            raise r.fault(f"declares {length} words of {size} bytes")
        words: Any = np.frombuffer(r.view(size * length), f"<u{size}")
        return cls(context, sender, words, root=masks.hash_of(words), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Survivors(Message):
    """The coordinator tells whose vectors arrived: those that the sum will be over; and commits to this sum."""

    KIND = 9
    context: bytes
    members: Members
    sum: bytes
    """`sketch.LimbSum.commitment`."""

    def _write(self, w: ByteWriter) -> ByteWriter:
        return write_members(w.raw(self.context), self.members).raw(self.sum)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), read_members(r), r.raw(DIGEST_BYTES))


@dataclass(frozen=True)
class Agreement(FromSite):
    """A site's signature under the survivors, the commitment to their sum, and the sketch of its own vector."""

    KIND = 10
    members: Members
    sum: bytes
    sketch: bytes
    """Of the masked vector that this site sent, under the challenge that follows from all of the above."""

    def _body(self, w: ByteWriter) -> ByteWriter:
        return write_members(w, self.members).raw(self.sum).raw(self.sketch)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        context, sender, members = r.raw(DIGEST_BYTES), r.u16(), read_members(r)
        total, sketch = r.raw(DIGEST_BYTES), r.raw(SKETCH_BYTES)
        return cls(context, sender, members, total, sketch, signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Agreements(Message):
    """Signatures under one set of survivors and one sum."""

    KIND = 11
    context: bytes
    sum: bytes
    signatures: tuple[tuple[int, bytes, bytes], ...]
    """Signer, its sketch, signature; by rising signer."""

    def _write(self, w: ByteWriter) -> ByteWriter:
        w.raw(self.context).raw(self.sum).u16(len(self.signatures))
        for sender, sketch, signature in self.signatures:
            w.u16(sender).raw(sketch).raw(signature)
        return w

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        context, total = r.raw(DIGEST_BYTES), r.raw(DIGEST_BYTES)
        n = r.count(MAX_SITES, 2 + SKETCH_BYTES + SIGNATURE_BYTES)
        signatures = tuple((r.u16(), r.raw(SKETCH_BYTES), r.raw(SIGNATURE_BYTES)) for _ in range(n))
        refuse_unordered(r, tuple(sender for sender, _, _ in signatures))
        return cls(context, total, signatures)


@dataclass(frozen=True)
class Release(FromSite):
    """One share for each participant: of the self-mask seed of a survivor, of the mask key of a dropped site.

    Which of the two it is follows from the agreed survivors alone, so that a message cannot hold both for one site.
    """

    KIND = 12
    shares: bytes = field(repr=False)
    """32 bytes for each of the key period's participants, in order."""

    def _body(self, w: ByteWriter) -> ByteWriter:
        return w.blob(self.shares)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), r.blob(SHARE_BYTES * MAX_SITES), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Seeds(Message):
    """What the released shares gave: the self-mask seed of each survivor, the mask-key seed of each dropped site.

    Not signed: each is held against what its owner published.
    """

    KIND = 13
    context: bytes
    seeds: bytes = field(repr=False)
    """31 bytes for each of the key period's participants, in order."""

    def _write(self, w: ByteWriter) -> ByteWriter:
        return w.raw(self.context).blob(self.seeds)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.blob(SECRET_BYTES * MAX_SITES))


@dataclass(frozen=True, eq=False)
class Sum(Message):
    """The sum of the survivors' masked vectors. Not signed: it is held against the commitment that sites signed."""

    KIND = 14
    context: bytes
    total: LimbSum = field(repr=False)

    def _write(self, w: ByteWriter) -> ByteWriter:
        low, carry = self.total.low, self.total.carry
        return w.raw(self.context).u32(len(low)).raw(low.data.cast("B")).raw(carry.data)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        context, limbs = r.raw(DIGEST_BYTES), r.u32()
        if limbs > 2 * MAX_WORDS:
            raise r.fault(f"declares {limbs} limbs")
        low, carry = np.frombuffer(r.view(4 * limbs), "<u4"), np.frombuffer(r.view(limbs), np.uint8)
        return cls(context, LimbSum(low, carry))
