"""What a scanner does to an image: contrast, gain, blur, noise. For phantoms and for simulated scanner shift alike."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from client.readers.source import Sealer
from client.sources.case_table import TableImages
from common.imaging import Picture
from common.types import Stack

_SCANNERS = 3
"""Purpose of these random streams; splits use 1 and 2."""


@dataclass(frozen=True)
class Scanner:
    """One device. The identity is Scanner(1, 1, 0, 0)."""

    gain: float
    contrast: float
    """Exponent on intensities of 0..1: above 1 darkens the middle."""
    blur: float
    """Standard deviation of the point spread, as a share of the image's height."""
    noise: float
    """Standard deviation of additive noise, on the scale 0..1."""

    def scan(self, stack: Stack, rng: np.random.Generator) -> Stack:
        """Images float32[n, h, w] of 0..1 as this device would show them, again of 0..1."""
        _, height, width = stack.shape
        scanned = np.clip(stack, 0, 1) ** np.float32(self.contrast)
        if self.blur > 0:
            sigma = self.blur * height
            scanned = _smoother(height, sigma) @ scanned @ _smoother(width, sigma).T
        scanned = scanned * np.float32(self.gain)
        scanned += rng.standard_normal(scanned.shape, np.float32) * np.float32(self.noise)
        clipped: Stack = np.clip(scanned, 0, 1)
        return clipped


def draw(rng: np.random.Generator, shift: float) -> Scanner:
    """A device at random; `shift` of 0..1 says how far from the identity, 1 being as far as hospitals' devices lie."""
    return Scanner(
        gain=float(1 - shift * rng.uniform(0, 0.35)),
        contrast=float(np.exp(shift * rng.uniform(-0.5, 0.5))),
        blur=float(shift * rng.uniform(0, 0.02)),
        noise=float(shift * rng.uniform(0, 0.06)),
    )


@functools.lru_cache(maxsize=64)
def _smoother(size: int, sigma: float) -> Stack:
    """float32[size, size]: the Gaussian along one axis as a matrix, rows of sum 1 (at the border the part inside)."""
    offset = np.subtract.outer(np.arange(size), np.arange(size))
    matrix = np.exp(-0.5 * (offset / sigma) ** 2)
    rows: Stack = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


class ShiftedImages:
    """Images as their sites' simulated devices would show them, each in its own range; noise follows seed and case."""

    def __init__(self, images: TableImages, sites: Sequence[int], shift: float, seed: int) -> None:
        self._images, self._sites, self._shift, self._seed = images, sites, shift, seed
        self._devices = {site: draw(_stream(seed, site), shift) for site in sorted(set(sites))}

    def name(self, index: int) -> str:
        """The image's."""
        return self._images.name(index)

    def sealer(self, index: int) -> Sealer | None:
        """The image's."""
        return self._images.sealer(index)

    def view(self, index: int) -> bytes:
        """What decides how the image looks: also its device and its noise."""
        return self._images.view(index) + repr((self._shift, self._seed, self._sites[index], index)).encode()

    def pictures(self, indices: Sequence[int]) -> Iterator[Picture]:
        """The images as these devices show them."""
        for picture, index in zip(self._images.pictures(indices), indices, strict=True):
            site, span = self._sites[index], max(picture.high - picture.low, 1e-12)
            channels = ((picture.pixels - picture.low) / span).transpose(2, 0, 1)
            scanned = self._devices[site].scan(channels.astype(np.float32), _stream(self._seed, site, index))
            yield replace(picture, pixels=scanned.transpose(1, 2, 0) * np.float32(span) + np.float32(picture.low))


def _stream(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _SCANNERS, *purpose])))
