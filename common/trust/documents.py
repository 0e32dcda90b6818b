"""Signed documents that people hand to each other: JSON that anyone can read, signed (Ed25519) in its canonical form.

    {"paper": "plan", "content": {…}, "signatures": {public key: signature, both hexadecimal}}

The signature is over the kind of document and its content, with sorted keys and no spaces: how the file is laid out
does not matter, and a document of one kind never passes for another. What people read of it on a screen is what was
signed: a key stands once, and no text moves the cursor or turns its direction.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import IdentityError, WireError
from common.trust.keys import digest, public_of, sign, verify

Kind = Literal[
    "request", "welcome", "plan", "decision", "head", "audit-key", "package", "policy", "figures", "drill", "witness",
    "offer", "catalogue", "root", "roots", "roster", "cosign", "rekey",
    "account", "address",
]  # fmt: skip
MOST_BYTES = 2**22
"""Most bytes of a file: a document is text that people could read."""
MOST_LEVELS = 16
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters, halves of characters, and those that turn the direction of writing."""


@dataclass(frozen=True)
class SignedDocument:
    """A document with its signatures, which are not checked before `verify`."""

    kind: Kind
    content: dict[str, Any]
    signatures: dict[bytes, bytes]

    @cached_property
    def digest(self) -> bytes:
        """What is signed, and the document's name: 32 bytes."""
        return digest(f"paper/{self.kind}", canonical(self.content))

    def verify(self, keys: Sequence[bytes], who: str) -> dict[str, Any]:
        """The content, if all of these keys have signed it.

        Raises:
            IdentityError: naming who should have signed.
        """
        if not keys:
            raise IdentityError("no-key", f"{self.kind}: there is no key of {who} to check the signature with.")
        for key in keys:
            verify(key, self.signatures.get(key, b""), self.digest, who=who, what=self.kind)
        return self.content

    def to_json(self) -> dict[str, Any]:
        """The value that its JSON file holds."""
        signatures = {key.hex(): signature.hex() for key, signature in self.signatures.items()}
        return {"paper": self.kind, "content": self.content, "signatures": signatures}

    def encode(self) -> bytes:
        """The bytes of its file."""
        return (json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n").encode()


def sign_document(kind: Kind, content: dict[str, Any], keys: Sequence[Ed25519PrivateKey]) -> SignedDocument:
    """A document signed with these keys.

    Raises:
        WireError: for content that `read` would refuse.
    """
    try:
        _refuse_odd(content)
        document = SignedDocument(kind, json.loads(canonical(content)), {})
    except ValueError as error:
        raise WireError(f"{kind}: {error}. Write it without.") from None
    return SignedDocument(kind, document.content, {public_of(key): sign(key, document.digest) for key in keys})


def read_document(file: bytes | Path, kind: Kind) -> SignedDocument:
    """A document from a file: well formed, but its signatures are not yet checked.

    Raises:
        WireError: if it is not a document of this kind.
        OSError: if the file cannot be read.
    """
    name = str(file) if isinstance(file, Path) else f"the {kind}"
    encoded = file.read_bytes() if isinstance(file, Path) else file
    try:
        if len(encoded) > MOST_BYTES:
            raise ValueError(f"{len(encoded)} bytes")
        parsed_json = foreign_json(encoded)
        signatures = {bytes.fromhex(key): bytes.fromhex(value) for key, value in parsed_json["signatures"].items()}
        if parsed_json["paper"] != kind or not isinstance(parsed_json["content"], dict):
            raise ValueError(f"a {str(parsed_json['paper'])[:20]!r}")
        return SignedDocument(kind, parsed_json["content"], signatures)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(
            f"{name}: expected a {kind} file as this release writes it ({str(error)[:80]}). Ask for it again."
        ) from None


def canonical(content: dict[str, Any]) -> bytes:
    """The one spelling of a content that is signed: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def foreign_json(content: bytes | str, levels: int = MOST_LEVELS) -> Any:
    """The value of a JSON text that comes from outside.

    Args:
        levels: how deeply it may be nested.

    Raises:
        ValueError: it is none, a key stands twice in it, or it has what no value of ours has: text that moves a cursor,
            a number that is none or too large, lists in lists in lists.
    """
    try:
        value = json.loads(content, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _refuse_odd(value, levels)
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _refuse_odd(value: object, levels: int = MOST_LEVELS) -> None:
    if levels == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str) and _ODD.search(value):
        raise ValueError("text with control characters")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a number that is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is none")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for each in inner:
        _refuse_odd(each, levels - 1)


def fingerprint(*keys: bytes) -> str:
    """Thirty digits to compare over the telephone: 99 bits of the hash of some public keys."""
    number = int.from_bytes(digest("fingerprint", *keys), "big") % 10**30
    text = f"{number:030d}"
    return " ".join(text[i : i + 5] for i in range(0, 30, 5))
