"""Images that are too many for the memory: read a batch at a time, while the batch before is worked on.

Whoever computes takes images through `batches`, and does not see where they are: the numbers are the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from common.types import Cases, Images, Places, Stack

BATCH_BYTES = 1 << 25
"""Of images that are read at once."""
READERS = 2
"""Threads that read ahead, each one batch."""


@dataclass(frozen=True)
class StoredImages:
    """Images that are read each time they are needed; a part of them is another view of the same.

    Args:
        read: places int64[k] to float32[k, h, w, c]. Threads call it beside each other.
        places: which of those that can be read, in their order.
        image_shape: h, w, c.
    """

    read: Callable[[Places], Stack]
    places: Places
    image_shape: tuple[int, int, int]
    step: Callable[[Stack], Stack] | None = None
    """What is done with a batch after it was read; the shape stays."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, h, w, c)."""
        return (len(self.places), *self.image_shape)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: slice | Places, /) -> Stack:
        stack = self.read(self.places[which])
        return self.step(stack) if self.step else stack


def part(images: Images, which: slice) -> Images:
    """Some of them, nothing copied or read."""
    return replace(images, places=images.places[which]) if isinstance(images, StoredImages) else images[which]


def with_step(images: Images, step: Callable[[Stack], Stack]) -> Images:
    """Images after a step that keeps their shape: at once, or when they are read."""
    return replace(images, step=step) if isinstance(images, StoredImages) else step(images[:])


def together(images: Images) -> int:
    """How many of them are taken at once, so that memory stays bounded."""
    return max(1, BATCH_BYTES // (4 * int(np.prod(images.shape[1:]))))


def batches(images: Images, parts: Iterable[slice | Places], readers: int = READERS) -> Iterator[Stack]:
    """The images of each part, in order; what has to be read is read ahead by threads."""
    if not isinstance(images, StoredImages):
        yield from (images[which] for which in parts)
        return
    ahead: deque[Future[Stack]] = deque()
    with ThreadPoolExecutor(readers) as pool:
        for which in parts:
            ahead.append(pool.submit(images.__getitem__, which))
            if len(ahead) > readers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def slices(count: int, size: int) -> list[slice]:
    """0 to `count` in parts of `size`, the last as long as it is."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def join(parts: Sequence[Cases]) -> Cases:
    """Pool several sets of cases into one (only a simulation may), whose images are all read in one way."""
    labels = np.concatenate([p.labels for p in parts])
    disk_images = [p.images for p in parts if isinstance(p.images, StoredImages)]
    if not disk_images:
        return Cases(np.concatenate([p.images[:] for p in parts]), labels)
    if len(disk_images) < len(parts) or any(images.read is not disk_images[0].read for images in disk_images):
        raise ValueError("images that are read in different ways, expected parts of one data set")
    return Cases(replace(disk_images[0], places=np.concatenate([images.places for images in disk_images])), labels)
