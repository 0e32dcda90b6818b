"""Images that are nearly the same: found among all pairs, also where one is mirrored, turned or a negative.

Exact digests miss a copy in another format, another size, another contrast, or the next frame of a sweep. What is
compared are thumbnails (`client.sources.thumbnail`), block by block, so that memory stays bounded: 100,000 images are
five thousand million pairs, and take minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from client.sources.thumbnail import SIDE

Ints = NDArray[np.int64]

BLOCK = 1024
"""Images a side of what is compared at once: 16 MiB."""
PART = 1 << 15
"""Pairs that are looked at exactly at once."""
MOST = 100_000
"""Pairs that are named; all are counted."""
_ROUNDING = 1e-4
"""More than what sums in single precision are off by; what is that near is computed in whole numbers."""


@dataclass(frozen=True)
class Twins:
    """The near-duplicates of a data set."""

    pairs: Ints
    """int64[p, 2]: indices of images, the first `MOST` pairs."""
    count: int
    """How many pairs there are."""
    links: Ints
    """int64[m, 2]: pairs that hold together all that is to stay on one side of a split."""

    def together(self, people: Ints) -> Ints:
        """Groups of people whose images must not be parted, int64[n]; in the order of the people's numbers."""
        first = _components(int(people.max()) + 1, people[self.links])
        return np.unique(first[people], return_inverse=True)[1].astype(np.int64)


NONE = Twins(np.empty((0, 2), np.int64), 0, np.empty((0, 2), np.int64))
"""Where nothing was looked for."""


def find(thumbnails: Sequence[bytes], least: float, people: Ints, places: Ints) -> Twins:
    """All pairs of two people's images whose thumbnails correlate by `least` or more, in either sign.

    Args:
        thumbnails: empty for an image that is compared with none.
        people: int64[n], whom each image shows: within one person all is one group already.
        places: int64[n]; across two places nothing is linked, for each divides its own, but all is found.
    """
    return _find(tuple(thumbnails), least, people.tobytes(), places.tobytes())


@lru_cache(maxsize=2)
def _find(thumbnails: tuple[bytes, ...], least: float, people_bytes: bytes, places_bytes: bytes) -> Twins:
    people, places = np.frombuffer(people_bytes, np.int64), np.frombuffer(places_bytes, np.int64)
    has_one = np.flatnonzero([bool(t) for t in thumbnails])
    if not len(has_one):
        return NONE
    whole = np.frombuffer(b"".join(thumbnails), np.int8).reshape(-1, SIDE, SIDE)
    chunks, links, count, group = [NONE.pairs], NONE.links, 0, people
    for near in _blocks(whole, least):
        pairs = has_one[near]
        pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
        pairs = pairs[_are_twins(whole, np.searchsorted(has_one, pairs), least)]
        chunks.append(pairs[: max(0, MOST - count)])
        count += len(pairs)
        linked = pairs[places[pairs[:, 0]] == places[pairs[:, 1]]]
        links = np.concatenate([links, _spanning(linked)])
        if count >= MOST and len(linked):  # where all images are alike, what hangs together already is not looked at
            group = Twins(NONE.pairs, count, links).together(people)
    return Twins(np.concatenate(chunks), count, links)


def _components(n: int, links: Ints) -> Ints:
    """What hangs together by links int64[m, 2]: int64[n], the number of the first of each group."""
    from scipy.sparse import coo_matrix  # a third of the time in which a command starts, and few look for twins
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    firsts = np.unique(labels, return_index=True)[1]
    first_of_each: Ints = firsts[labels].astype(np.int64)
    return first_of_each


def _spanning(pairs: Ints) -> Ints:
    """Fewer links that hold the same images together: a block of copies of one image has half a million pairs."""
    nodes, inverse = np.unique(pairs, return_inverse=True)
    first = _components(len(nodes), inverse.reshape(pairs.shape))
    links: Ints = nodes[np.stack([np.arange(len(nodes)), first], axis=1)]
    proper: Ints = links[links[:, 0] != links[:, 1]]
    return proper


def _blocks(whole: NDArray[np.int8], least: float) -> Iterator[Ints]:
    """Pairs int64[p, 2] that may be twins, each once, the lower index first: those that a bound does not rule out.

    The parts of an image that are even and odd in both directions only change signs when it is mirrored. So the sum of
    the parts' products, without signs, is never less than the product in any of four orientations; the other four are
    those of the transposed image.
    """
    unit = whole.astype(np.float32)
    unit /= np.sqrt((unit**2).sum((1, 2), keepdims=True))
    for top in range(0, len(whole), BLOCK):
        one = _parts(unit[top : top + BLOCK])
        for left in range(top, len(whole), BLOCK):
            right = unit[left : left + BLOCK]
            near = np.zeros((one.shape[1], len(right)), bool)
            for turned in (right, right.transpose(0, 2, 1)):
                products = one @ _parts(turned).transpose(0, 2, 1)
                near |= np.abs(products, out=products).sum(0) > least - _ROUNDING
            pairs = np.argwhere(np.triu(near, 1) if top == left else near) + np.array([top, left])
            for start in range(0, len(pairs), PART):
                yield pairs[start : start + PART]


def _parts(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, s, s] as float32[4, n, s² / 4]: even and odd, top to bottom and left to right; the norm stays."""
    half = SIDE // 2
    folded = [images[:, :half] + sign * images[:, : half - 1 : -1] for sign in (1, -1)]
    parts = [f[:, :, :half] + sign * f[:, :, : half - 1 : -1] for f in folded for sign in (1, -1)]
    return (np.stack(parts) / 2).astype(np.float32, copy=False).reshape(4, len(images), -1)


def _are_twins(whole: NDArray[np.int8], pairs: Ints, least: float) -> NDArray[np.bool_]:
    """Whether pairs correlate in some orientation, from sums that are exact: whole numbers below 2²⁴."""
    one, other = whole[pairs[:, 0]].astype(np.float32), whole[pairs[:, 1]].astype(np.float32)
    norms = np.sqrt((one**2).sum((1, 2), dtype=np.float64) * (other**2).sum((1, 2), dtype=np.float64))
    turned = (np.rot90(m, quarter, (1, 2)) for m in (other, other[:, :, ::-1]) for quarter in range(4))
    best = np.max([np.abs(np.einsum("nij,nij->n", one, t)) for t in turned], axis=0)
    are: NDArray[np.bool_] = best >= least * norms
    return are
