"""Our one array of bytes as Flower's records, and back.

What the bytes mean, `common.messages.wire` says. Flower has three kinds of records; two are used:

    {"message": ConfigRecord{"bytes": …}}                      up to a megabyte: one record, sent whole
    {"message": ConfigRecord{}, "pieces": ArrayRecord{"bytes"}}   more: Flower cuts arrays into pieces of 5 MB, so a
                                                               connection that breaks costs a piece and not the whole
"""

from typing import cast

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from common.errors import WireError

SMALL_BYTES = 2**20


def pack(content: bytes) -> RecordDict:
    """Bytes as the content of a Flower message: few and small records, for each travels by itself."""
    if len(content) <= SMALL_BYTES:
        return RecordDict({"message": ConfigRecord({"bytes": content})})
    return RecordDict({"message": ConfigRecord({}), "pieces": array_record(content)})


def unpack(content: RecordDict) -> bytes:
    """The bytes in the content of a Flower message.

    Raises:
        WireError: there are none, so it is not from this release's coordinator.
    """
    try:
        message = cast(ConfigRecord, content["message"])
        return cast(bytes, message["bytes"]) if "bytes" in message else bytes_under(content, "pieces")
    except (KeyError, TypeError, AttributeError):
        raise WireError("a Flower message without our bytes: not from this release's coordinator.") from None


def array_record(content: bytes) -> ArrayRecord:
    """Bytes as an array of Flower's."""
    # Flower sends arrays in pieces, but a ConfigRecord whole: for 100 MB that took ten times as long.
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "consilium", content)})


def bytes_under(content: RecordDict, name: str) -> bytes:
    """The bytes of an `array_record`.

    Raises:
        WireError: there is none of that name.
    """
    try:
        return cast(ArrayRecord, content[name])["bytes"].data
    except (KeyError, AttributeError):
        raise WireError(
            f"a Flower message without bytes under '{name}': not from this release's coordinator."
        ) from None
