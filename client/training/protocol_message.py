"""What a message of secure aggregation carries: the protocol's bytes, and with `secagg/submit` a question."""

import numpy as np

from common.errors import WireError
from common.messages.answer_layout import PAGE
from common.messages.transport import Request

MESSAGE = "message"
BESIDE = (MESSAGE, PAGE, "asked", "lineage")
"""What a `secagg/submit` carries beside its question."""


def question_in(request: Request) -> Request:
    """The question that a `secagg/submit` carries."""
    tensors = {n: t for n, t in request.tensors.items() if n not in BESIDE}
    settings = {n: s for n, s in request.settings.items() if n not in BESIDE}
    return Request(str(request.settings.get("asked", "")), request.round, tensors, settings)


def page_in(request: Request) -> Request | None:
    """The transcript that came with a question, as if it had come by itself."""
    if PAGE not in request.tensors:
        return None
    page = request.tensors[PAGE]
    return Request(
        "secagg/audit", request.round, {MESSAGE: page},
        {"number": request.settings.get(PAGE, -1), "at": 0, "of": page.nbytes},
    )  # fmt: skip


def bytes_in(request: Request, name: str) -> bytes:
    """An array of bytes.

    Raises:
        WireError: if there is none of that name.
    """
    array = request.tensors.get(name)
    if array is None or array.dtype != np.uint8 or array.ndim != 1:
        raise WireError(f"a request of kind {request.kind!r} without bytes under '{name}'.")
    return array.tobytes()


def lineage_in(request: Request) -> bytes:
    """The lineage that the coordinator says; only a simulated site that does not audit goes by it."""
    try:
        return bytes.fromhex(str(request.settings["lineage"]))
    except (KeyError, ValueError):
        raise WireError("a question without its lineage.") from None
