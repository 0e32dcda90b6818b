"""The messages by which a key period begins, each a frozen class with one encoding.

    proposal → Advert · Directory → Shares · Delivery → Ready

Sites sign theirs. What the coordinator sends is not signed: a site believes nothing of it that it cannot check.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from common.secagg.envelope import FromSite, Message
from common.secagg.key_period_plan import MAX_ROUNDS
from common.secagg.message_fields import read_pairs, write_pairs
from common.secagg.protocol import digest
from common.trust.codec import ByteReader, ByteWriter
from common.trust.keys import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES
from common.trust.roster import MAX_SITES


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
        return write_pairs(w, self.boxes)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), read_pairs(r), signature=r.raw(SIGNATURE_BYTES))


@dataclass(frozen=True)
class Delivery(Message):
    """What the peers sealed for one site; peers and site together are the key period's participants."""

    KIND = 5
    boxes: tuple[tuple[int, bytes], ...]

    def _write(self, w: ByteWriter) -> ByteWriter:
        return write_pairs(w, self.boxes)

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(read_pairs(r))


@dataclass(frozen=True)
class Ready(FromSite):
    """The site has opened all its shares; its context is the view that it has of the key period."""

    KIND = 6

    def _body(self, w: ByteWriter) -> ByteWriter:
        return w

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        return cls(r.raw(DIGEST_BYTES), r.u16(), signature=r.raw(SIGNATURE_BYTES))
