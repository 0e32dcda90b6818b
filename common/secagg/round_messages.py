"""The messages of a round, each a frozen class with one encoding.

    Start → Masked · Survivors → Agreement · Agreements → Release

Sites sign theirs. What the coordinator sends is not signed: a site believes nothing of it that it cannot check.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from common.secagg import masks
from common.secagg.envelope import FromSite, Message
from common.secagg.fixedpoint import MAX_WORDS
from common.secagg.message_fields import Members, checked_pairs, read_members, write_members
from common.secagg.shamir import SHARE_BYTES
from common.trust.codec import MAGIC, ByteReader, ByteWriter
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
    """The coordinator tells whose vectors arrived: those that the sum will be over."""

    KIND = 9
    context: bytes
    members: Members

    def _write(self, w: ByteWriter) -> ByteWriter:
        return write_members(w.raw(self.context), self.members)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), read_members(r))


@dataclass(frozen=True)
class Agreement(FromSite):
    """A site's signature under the survivors."""

    KIND = 10
    members: Members

    def _body(self, w: ByteWriter) -> ByteWriter:
        return write_members(w, self.members)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), read_members(r), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Agreements(Message):
    """Signatures under one set of survivors."""

    KIND = 11
    context: bytes
    signatures: tuple[tuple[int, bytes], ...]
    """Signer and signature, by rising signer."""

    def _write(self, w: ByteWriter) -> ByteWriter:
        w.raw(self.context).u16(len(self.signatures))
        for sender, signature in self.signatures:
            w.u16(sender).raw(signature)
        return w

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        context, n = r.raw(DIGEST_BYTES), r.count(MAX_SITES, 2 + SIGNATURE_BYTES)
        return cls(context, checked_pairs(r, tuple((r.u16(), r.raw(SIGNATURE_BYTES)) for _ in range(n))))


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
