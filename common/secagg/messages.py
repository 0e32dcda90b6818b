"""The messages, each a frozen class with one encoding.

Sites sign theirs. What the coordinator sends is not signed: a site believes nothing of it that it cannot check.

    key period   proposal → Advert · Directory → Shares · Delivery → Ready
    round   Start → Masked · Survivors → Agreement · Agreements → Release
"""

import struct
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np

from common.errors import WireError
from common.secagg import masks
from common.secagg.envelope import FromSite, Message
from common.secagg.fixedpoint import MAX_WORDS
from common.secagg.key_period_plan import MAX_ROUNDS
from common.secagg.shamir import SHARE_BYTES
from common.trust.codec import MAGIC, ByteReader, ByteWriter
from common.trust.keys import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES, digest
from common.trust.roster import MAX_SITES

Members = tuple[int, ...]
"""Positions in the plan's cohort, rising."""


@dataclass(frozen=True)
class Advert(FromSite):
    """A site's public keys for a key period."""

    KIND = 2
    channel: bytes
    """X25519 key under which peers seal shares."""
    rounds: bytes
    """For every round, X25519 mask key and commitment to the self-mask seed: 64 bytes each."""

    @cached_property
    def digest(self) -> bytes:
        """What stands for the advert, signature included."""
        return digest("advert", self.encode())

    def mask_key(self, slot: int) -> bytes:
        """The public mask key of a round."""
        return self.rounds[64 * slot : 64 * slot + 32]

    def commitment(self, slot: int) -> bytes:
        """The commitment to a round's self-mask seed."""
        return self.rounds[64 * slot + 32 : 64 * slot + 64]

    def _body(self, w: ByteWriter) -> ByteWriter:
        return w.raw(self.channel).blob(self.rounds)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        context, sender, channel = r.raw(DIGEST_BYTES), r.u16(), r.raw(KEY_BYTES)
        return cls(context, sender, channel, r.blob(64 * MAX_ROUNDS), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Directory(Message):
    """The adverts of all sites that sent one, byte for byte."""

    KIND = 3
    adverts: tuple[bytes, ...]

    def _write(self, w: ByteWriter) -> ByteWriter:
        w.u16(len(self.adverts))
        for advert in self.adverts:
            w.blob(advert)
        return w

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(tuple(r.blob(64 * MAX_ROUNDS + 256) for _ in range(r.count(MAX_SITES, 4))))


@dataclass(frozen=True)
class Shares(FromSite):
    """A site's shares for its peers, each sealed for one of them."""

    KIND = 4
    boxes: tuple[tuple[int, bytes], ...]
    """Peer and ciphertext, by rising peer."""

    def _body(self, w: ByteWriter) -> ByteWriter:
        return _pairs(w, self.boxes)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), _read_pairs(r), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Delivery(Message):
    """What the peers sealed for one site; peers and site together are the key period's participants."""

    KIND = 5
    boxes: tuple[tuple[int, bytes], ...]

    def _write(self, w: ByteWriter) -> ByteWriter:
        return _pairs(w, self.boxes)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(_read_pairs(r))


@dataclass(frozen=True)
class Ready(FromSite):
    """The site has opened all its shares; its context is the view that it has of the key period."""

    KIND = 6

    def _body(self, w: ByteWriter) -> ByteWriter:
        return w

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Start(Message):
    """A round begins."""

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
    """Whose vectors arrived."""

    KIND = 9
    context: bytes
    members: Members

    def _write(self, w: ByteWriter) -> ByteWriter:
        return _members(w.raw(self.context), self.members)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), _read_members(r))


@dataclass(frozen=True)
class Agreement(FromSite):
    """A site's signature under the survivors."""

    KIND = 10
    members: Members

    def _body(self, w: ByteWriter) -> ByteWriter:
        return _members(w, self.members)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), _read_members(r), signature=r.raw(SIGNATURE_BYTES))


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
        return cls(context, _rising(r, tuple((r.u16(), r.raw(SIGNATURE_BYTES)) for _ in range(n))))


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


def kind_of(content: bytes) -> int:
    """The kind byte of a message.

    Raises:
        WireError: if it is too short or of another protocol.
    """
    if len(content) <= len(MAGIC) or content[: len(MAGIC)] != MAGIC:
        raise WireError("a secure aggregation message of another protocol version, or none at all.")
    return content[len(MAGIC)]


def _pairs(w: ByteWriter, pairs: tuple[tuple[int, bytes], ...]) -> ByteWriter:
    w.u16(len(pairs))
    for peer, content in pairs:
        w.u16(peer).blob(content)
    return w


def _read_pairs(r: ByteReader) -> tuple[tuple[int, bytes], ...]:
    limit = 2 * SHARE_BYTES * MAX_ROUNDS + TAG_BYTES
    return _rising(r, tuple((r.u16(), r.blob(limit)) for _ in range(r.count(MAX_SITES, 6))))


def _rising(r: ByteReader, pairs: tuple[tuple[int, bytes], ...]) -> tuple[tuple[int, bytes], ...]:
    _demand_rising(r, tuple(peer for peer, _ in pairs))
    return pairs


def _members(w: ByteWriter, members: Members) -> ByteWriter:
    return w.u16(len(members)).raw(struct.pack(f"<{len(members)}H", *members))


def _read_members(r: ByteReader) -> Members:
    members = tuple(r.u16() for _ in range(r.count(MAX_SITES, 2)))
    _demand_rising(r, members)
    return members


def _demand_rising(r: ByteReader, members: Members) -> None:
    if any(b <= a for a, b in pairwise(members)):
        raise r.fault("lists a site twice, or not in order")
