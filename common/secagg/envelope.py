"""What all messages share: a magic, a kind, fields and nothing left over; and what those of sites add: a signature.

Sites sign over the context that applies, what the message is, who sends it, and its content.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import WireError
from common.secagg.protocol import MAGIC, digest
from common.trust.codec import ByteReader, ByteWriter
from common.trust.keys import DIGEST_BYTES, sign, verify


class Message:
    """What all messages share: a magic, a kind, fields, nothing left over."""

    KIND: ClassVar[int]

    def encode(self) -> bytes:
        """The message as bytes."""
        return self._write(ByteWriter().raw(MAGIC).u8(self.KIND)).bytes()

    @classmethod
    def decode(cls, content: bytes | memoryview) -> Self:
        """The message of these bytes.

        Raises:
            WireError: if they are not exactly such a message.
        """
        r = ByteReader(content, cls.__name__.lower())
        if r.raw(len(MAGIC)) != MAGIC:
            raise r.fault("is of another protocol version")
        if (kind := r.u8()) != cls.KIND:
            raise r.fault(f"is of kind {kind}, expected {cls.KIND}")
        message = cls._read(r)
        r.end()
        return message

    def _write(self, w: ByteWriter) -> ByteWriter:
        raise NotImplementedError

    @classmethod
    def _read(cls, r: ByteReader) -> Self:
        raise NotImplementedError


@dataclass(frozen=True)
class FromSite(Message):
    """A message that a site signs: context, sender, content, signature."""

    context: bytes
    """period_ctx, view, or round_ctx."""
    sender: int
    """Position in the cohort."""
    signature: bytes = field(default=b"", kw_only=True)

    def statement(self) -> bytes:
        """The digest that the site signs: of context, kind of message, sender and content."""
        return digest(type(self).__name__, self.context, self.sender.to_bytes(2, "little"), *self._content())

    def sign(self, identity: Ed25519PrivateKey) -> Self:
        """The same message with its signature."""
        return replace(self, signature=sign(identity, self.statement()))

    def verify(self, public: bytes, *, who: str) -> None:
        """Check that the sender has signed this message.

        Raises:
            IdentityError: naming the sender.
        """
        verify(public, self.signature, self.statement(), who=who, what=type(self).__name__.lower())

    def _content(self) -> tuple[bytes, ...]:
        return (self._body(ByteWriter()).bytes(),)

    def _write(self, w: ByteWriter) -> ByteWriter:
        return self._body(w.raw(self.context).u16(self.sender)).raw(self.signature)

    def _body(self, w: ByteWriter) -> ByteWriter:
        raise NotImplementedError


def kind_of(content: bytes | memoryview) -> int:
    """The kind byte of a message.

    Raises:
        WireError: if it is too short or of another protocol.
    """
    if len(content) <= len(MAGIC) or content[: len(MAGIC)] != MAGIC:
        raise WireError("a secure aggregation message of another protocol version, or none at all.")
    return content[len(MAGIC)]


def sender_in(content: bytes | memoryview) -> int:
    """The sender that stands in a message of a site; whether it is so, its signature must tell."""
    at = len(MAGIC) + 1 + DIGEST_BYTES
    return int.from_bytes(content[at : at + 2], "little")
