"""Bytes as Flower's records: what travels in a Flower message is one array of bytes (common/messages/wire.py)."""

from typing import cast

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from common.errors import WireError

SMALL_BYTES = 2**20
"""Up to here the bytes stand in the message itself, else in an array beside it, which Flower sends in pieces."""


def message_records(content: bytes, plan: str) -> dict[str, ConfigRecord | ArrayRecord]:
    """Bytes as Flower's records: few and small ones, for each is stored and asked for by itself.

    Args:
        plan: digest of the plan that the message is of.
    """
    if len(content) <= SMALL_BYTES:
        return {"message": ConfigRecord({"plan": plan, "bytes": content})}
    return {"message": ConfigRecord({"plan": plan}), "pieces": byte_array(content)}


def message_bytes(content: RecordDict) -> bytes:
    """The bytes of a Flower message.

    Raises:
        WireError: none of ours.
    """
    try:
        record = cast(ConfigRecord, content["message"])
        return cast(bytes, record["bytes"]) if "bytes" in record else array_bytes(content, "pieces")
    except (KeyError, TypeError, AttributeError):
        raise WireError("a Flower message without our bytes.") from None


def byte_array(content: bytes) -> ArrayRecord:
    """Bytes as an array, which Flower sends in pieces."""
    # A ConfigRecord goes whole: for 100 MB that took ten times as long.
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "consilium", content)})


def array_bytes(content: RecordDict, name: str) -> bytes:
    """The bytes of an array in a Flower message.

    Raises:
        WireError: there is none of that name.
    """
    try:
        return cast(ArrayRecord, content[name])["bytes"].data
    except (KeyError, TypeError, AttributeError):
        raise WireError(f"a Flower message without bytes under '{name}'.") from None
