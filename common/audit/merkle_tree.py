"""Merkle trees over a list of entries that only grows. RFC 6962, section 2.1; verified as in RFC 9162, section 2.1.

A root of 32 bytes stands for all entries and their order. A short proof, of as many hashes as the tree is high, shows
that a later tree begins with all of an earlier one.
"""

import hashlib
from collections.abc import Sequence

from common.errors import AuditError

# The tree over n entries splits at the largest power of two below n. So subtrees of 2**h entries are complete from the
# left, and never change as entries come: appending rewrites only the right edge, and the log need not be read again.
#
# Entries and pairs of hashes are hashed under different first bytes. Without them the 64 bytes of two hashes could be
# shown as an entry: it would have the hash of their parent, and a proof for it would hold (a second preimage).
HASH_BYTES = 32
EMPTY = hashlib.sha256().digest()
"""The root of no entries."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """All hashes of complete subtrees, so that roots and proofs of every size so far cost a few hashes each."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]
        """By height: the subtrees of 2**height entries that are complete, from the left."""

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add the hash of one more entry."""
        for height, level in enumerate(self._levels):
            level.append(leaf)
            if len(level) % 2:
                return
            leaf = node_hash(level[-2], level[-1])
            if height + 1 == len(self._levels):
                self._levels.append([])

    def root(self, size: int | None = None) -> bytes:
        """The root over the first so many entries; none: over all.

        Raises:
            ValueError: there are fewer.
        """
        size = len(self) if size is None else size
        self._refuse_beyond(0, size)
        return self._subtree(0, size) if size else EMPTY

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree over the first `new` entries begins with that over the first `old`.

        Raises:
            ValueError: there are fewer.
        """
        self._refuse_beyond(old, new)
        return self._proof(old, 0, new, is_known=True) if old else []

    def _refuse_beyond(self, one: int, other: int) -> None:
        if not 0 <= one <= other <= len(self):
            raise ValueError(f"{one} and {other} of {len(self)} entries")

    def _subtree(self, begin: int, end: int) -> bytes:
        size = end - begin
        if size & (size - 1) == 0 and begin % size == 0:
            return self._levels[size.bit_length() - 1][begin // size]
        middle = begin + _split(size)
        return node_hash(self._subtree(begin, middle), self._subtree(middle, end))

    def _proof(self, old: int, begin: int, end: int, *, is_known: bool) -> list[bytes]:
        # Hashes of subtrees from which both roots can be computed: those left of the cut make the old one, and together
        # with those right of it the new one. A subtree that is the whole old tree is known to who checks, and left out.
        if old == end:
            return [] if is_known else [self._subtree(begin, end)]
        middle = begin + _split(end - begin)
        if old <= middle:
            return [*self._proof(old, begin, middle, is_known=is_known), self._subtree(middle, end)]
        return [*self._proof(old, middle, end, is_known=False), self._subtree(begin, middle)]


class Frontier:
    """What appending needs of a tree: the roots of its complete subtrees, of each size one at most, largest first."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise ValueError(f"{len(peaks)} peaks of {size} entries")
        self.size, self.peaks = size, list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add the hash of one more entry."""
        index = self.size
        while index & 1:
            leaf, index = node_hash(self.peaks.pop(), leaf), index >> 1
        self.peaks.append(leaf)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over all entries so far."""
        root = b""
        for peak in reversed(self.peaks):
            root = node_hash(peak, root) if root else peak
        return root or EMPTY


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that a later tree begins with all of an earlier one.

    Raises:
        AuditError: the proof does not show it.
    """
    if not 0 <= old <= new:
        raise AuditError(f"a log of {new} entries where there were {old} before: it was set back.")
    if old == 0 or old == new:
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY):
            raise AuditError(f"two logs of {new} entries that are not the same, or a proof where none belongs.")
        return
    if not _extends(old, old_root, new, new_root, list(proof)):
        raise AuditError(f"the log of {new} entries does not begin with the {old} that were there before.")


def _extends(old: int, old_root: bytes, new: int, new_root: bytes, proof: list[bytes]) -> bool:
    # A size that is a power of two is one complete subtree, whose hash is the old root itself: the proof leaves it out.
    if old & (old - 1) == 0:
        proof = [old_root, *proof]
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    if not proof:
        return False
    # Two climbs at once: `first` takes only pieces on the left, which the old tree had, `second` takes all.
    first = second = proof[0]
    for piece in proof[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            first, second = node_hash(piece, first), node_hash(piece, second)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            second = node_hash(second, piece)
        here, last = here >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
