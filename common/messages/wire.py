"""Messages to bytes and back: one versioned envelope around named arrays. Flower carries these bytes, nothing else."""

import json

from common.errors import WireError
from common.messages.transport import Reply, Request
from common.storage import tensorfile
from common.trust.documents import foreign_json

VERSION = "consilium/1"


def encode_request(request: Request) -> bytes:
    """A request as bytes; encoding the same request twice gives the same bytes."""
    settings = json.dumps(dict(request.settings), sort_keys=True, allow_nan=False)
    header = {"version": VERSION, "message": "request", "kind": request.kind, "round": str(request.round)}
    return tensorfile.pack(request.tensors, header | {"settings": settings})


def decode_request(content: bytes) -> Request:
    """A request from bytes.

    Raises:
        WireError: if they are not one, or of another version.
    """
    tensors, header = tensorfile.unpack(content)
    _expect(header, "request")
    try:
        settings = foreign_json(header["settings"])
        if not isinstance(settings, dict) or not all(isinstance(v, int | float | str) for v in settings.values()):
            raise WireError("a request's settings are not plain numbers and strings.")
        return Request(header["kind"], int(header["round"]), tensors, settings)
    except (KeyError, ValueError) as error:
        raise WireError(f"a request without a valid {error}.") from None


def encode_reply(reply: Reply) -> bytes:
    """A reply as bytes."""
    return tensorfile.pack(reply.sums, {"version": VERSION, "message": "reply"})


def decode_reply(content: bytes) -> Reply:
    """A reply from bytes.

    Raises:
        WireError: if they are not one, or of another version.
    """
    tensors, header = tensorfile.unpack(content)
    _expect(header, "reply")
    return Reply(tensors)


def _expect(header: dict[str, str], message: str) -> None:
    if header.get("version") != VERSION:
        raise WireError(
            f"a message of version {header.get('version', 'unknown')!r}, expected {VERSION!r}: "
            "bring the coordinator and the sites to the same release."
        )
    if header.get("message") != message:
        raise WireError(f"a {header.get('message', 'message')}, expected a {message}.")
