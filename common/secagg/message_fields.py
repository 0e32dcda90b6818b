"""Fields that several messages have: members of the cohort, and pairs of a member and bytes, always by rising position.

One order only, so that one content has one encoding, and nobody stands in a message twice.
"""

import struct
from itertools import pairwise

from common.secagg.key_period_plan import MAX_ROUNDS
from common.secagg.shamir import SHARE_BYTES
from common.trust.codec import ByteReader, ByteWriter
from common.trust.keys import TAG_BYTES
from common.trust.roster import MAX_SITES

Members = tuple[int, ...]
"""Positions in the plan's cohort, rising."""


def write_pairs(w: ByteWriter, pairs: tuple[tuple[int, bytes], ...]) -> ByteWriter:
    """Write pairs of a position and bytes, after their number."""
    w.u16(len(pairs))
    for peer, content in pairs:
        w.u16(peer).blob(content)
    return w


def read_pairs(r: ByteReader) -> tuple[tuple[int, bytes], ...]:
    """Read pairs of a position and sealed shares.

    Raises:
        WireError: more than a cohort has, too long, or not in order.
    """
    limit = 2 * SHARE_BYTES * MAX_ROUNDS + TAG_BYTES
    pairs = tuple((r.u16(), r.blob(limit)) for _ in range(r.count(MAX_SITES, 6)))
    refuse_unordered(r, tuple(peer for peer, _ in pairs))
    return pairs


def write_members(w: ByteWriter, members: Members) -> ByteWriter:
    """Write positions, after their number."""
    return w.u16(len(members)).raw(struct.pack(f"<{len(members)}H", *members))


def read_members(r: ByteReader) -> Members:
    """Read positions.

    Raises:
        WireError: more than a cohort has, or not in order.
    """
    members = tuple(r.u16() for _ in range(r.count(MAX_SITES, 2)))
    refuse_unordered(r, members)
    return members


def refuse_unordered(r: ByteReader, members: Members) -> None:
    """Refuse positions that do not rise.

    Raises:
        WireError: they do not.
    """
    if any(b <= a for a, b in pairwise(members)):
        raise r.fault("lists a site twice, or not in order")
