"""How the coordinator shows a run's lineage to the sites that audit: what both sides must agree on.

`secagg/follow` and every piece of `secagg/audit` are answered with a number: the question whose transcript the site
awaits next (`common.algorithms.course.number`), or one of two others.
"""

PIECE_BYTES = 2**24
"""Of a transcript, in one message."""
AWAITS_NOTHING = -1
"""The site does not audit."""
NEW = -2
"""The site audits, and has nothing yet to follow from."""


def said(number: int) -> bytes:
    """A number as a message."""
    return number.to_bytes(8, "little", signed=True)


def heard(message: bytes | memoryview) -> int:
    """A number from a message; anything else is as if the site did not audit."""
    return int.from_bytes(message, "little", signed=True) if len(message) == 8 else AWAITS_NOTHING
