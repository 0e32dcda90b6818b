"""Radiograph-like chest phantoms, drawn.

Each image is a sum of attenuations (body, lungs, heart, spine, ribs, and for the ill a shadow in a lung) that a film
darkens by exp(-sum). Nothing here is a model of disease.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import DRAWN
from common.types import Labels, Stack

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


def only(kinds: Labels) -> Flags:
    """One finding an image, bool[n, 5], by its number in DRAWN from 1 on; 0: none."""
    return np.asarray(kinds[:, None] == np.arange(1, len(DRAWN) + 1))


def radiographs(present: Flags, size: int, rng: np.random.Generator) -> Stack:
    """Draw chests: float32[n, size, size] of 0..1, each with the findings of DRAWN that bool[n, 5] says."""
    n = len(present)
    opacity, effusion, nodule, large, pacemaker = (column.astype(np.float32)[:, None, None] for column in present.T)
    line: Stack = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = line[None, None, :], line[None, :, None]

    def some(low: float, high: float) -> Stack:
        """One number an image: float32[n, 1, 1]."""
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    x, y = x - some(-0.06, 0.06), y - some(-0.06, 0.06)
    width, tall = some(0.92, 1.08), some(0.92, 1.08)
    x, y = x / width, y / tall
    side = np.abs(x)

    shoulder = _step(-y - 0.62, 0.08)
    half = 0.80 + 0.06 * y + 0.35 * shoulder - 1.0 * _step(-y - 0.93, 0.05)
    body = _dome(np.square(side / np.maximum(half, 0.05)), np.float32(0))

    # The domes of the diaphragm; the patient's right one (left in the image) is higher. An effusion lifts one's edge.
    dome = 0.52 - 0.05 * _step(-x, 0.05) + some(-0.1, 0.1) + 1.5 * (side - 0.34) ** 2
    side_sign = np.where(rng.random((n, 1, 1)) < 0.5, -1, 1).astype(np.float32)
    this_side = _step(side_sign * x - 0.05, 0.04)
    subtle = rng.lognormal(0.2, 0.35, (n, 1, 1)).astype(np.float32)
    meniscus = 0.20 + 0.5 * np.clip(side - 0.3, 0, 1)
    level = dome - this_side * (effusion * subtle) * meniscus

    def lung(centre: float, reach: float) -> Floats:
        return _dome((x - centre - 0.10 * centre * y) / reach, (y + 0.02) / 0.76)

    lungs = np.sqrt(lung(-0.40, 0.29) + lung(0.40, 0.27)) * _step(level - y, 0.025)
    heart_size = some(0.85, 1.15) * (1 + np.float32(0.22) * large)
    tilted_x, tilted_y = (x - 0.13) + 0.45 * (y - 0.25), (y - 0.25) - 0.35 * (x - 0.13)
    heart = _dome(tilted_x / (0.29 * heart_size), tilted_y / (0.30 * heart_size))
    middle = np.exp(-((x / 0.11) ** 2)) * _step(0.7 - y, 0.1) + 0.5 * _blob(x - 0.13, y + 0.33, 0.09)
    spine = np.exp(-((x / 0.065) ** 2)) * (1 + 0.2 * np.cos(some(30, 38) * y))

    beat, phase = some(17.0, 21.0), some(0, 6.3)
    inside = _step(half - 0.06 - side, 0.03) * _step(0.72 - y, 0.06) * _step(y + 0.72, 0.06)
    back = _crest(beat * y + (beat * (0.55 * (side - 0.45) ** 2 - 0.12 * side) + phase))
    front = _crest(beat * y + (phase + 1.5 - beat * 0.75 * side)) * _step(side - 0.3, 0.1)
    ribs = (back + 0.55 * front) * inside * (0.35 + side)
    collar = np.exp(-(((y + 0.66 + 0.16 * side) / 0.035) ** 2)) * _step(side - 0.06, 0.03) * _step(0.62 - side, 0.04)

    hila = _blob(x + 0.20, y - 0.02, 0.13) + _blob(x - 0.20, y + 0.02, 0.13)
    markings = _texture(rng, n, size)
    shadow = _shadow(rng, opacity, nodule, x, y, side_sign, subtle, markings)

    sum_of_all = (
        body * (1.15 + 0.15 * y + some(-0.08, 0.08)) - 1.05 * lungs * (1 - 0.22 * hila)
        + 0.75 * heart + 0.45 * middle + 0.30 * spine + 0.20 * ribs * body + 0.22 * collar
        + lungs * (0.10 * markings * (0.5 + hila) + shadow)
    )  # fmt: skip
    if present[:, 4].any():
        sum_of_all = sum_of_all + pacemaker * _device(x, y)
    film = 1.12 * (1 - np.exp(-np.float32(1.05) * np.clip(sum_of_all, 0.02, None)))
    image: Stack = np.clip(film, 0, 1).astype(np.float32)
    return image


def _shadow(
    rng: np.random.Generator,
    opacity: Stack,
    nodule: Stack,
    x: Floats,
    y: Floats,
    side_sign: Stack,
    subtle: Stack,
    markings: Stack,
) -> Stack:
    """What lies over a lung: opacity and nodule of the ill, and in everyone faint patches that mean nothing."""
    shape = (len(opacity), 1, 1)
    at_x = (side_sign * rng.uniform(0.24, 0.54, shape)).astype(np.float32)
    at_y = rng.uniform(-0.4, 0.38, shape).astype(np.float32)
    dense = opacity * subtle * rng.uniform(0.5, 0.75, shape).astype(np.float32)
    small = nodule * subtle * rng.uniform(0.6, 0.9, shape).astype(np.float32)
    wide = rng.uniform(0.15, 0.26, shape).astype(np.float32)
    shadow = dense * _blob(x - at_x, y - at_y, wide) * np.clip(1 + 0.5 * markings, 0, 2)
    shadow += small * _blob(x - at_x, y - at_y, rng.uniform(0.09, 0.13, shape).astype(np.float32))
    for _ in range(2):
        patch_x = (rng.uniform(0.2, 0.55, shape) * rng.choice([-1, 1], shape)).astype(np.float32)
        patch_y = rng.uniform(-0.5, 0.45, shape).astype(np.float32)
        shadow += rng.uniform(0, 0.16, shape).astype(np.float32) * _blob(x - patch_x, y - patch_y, wide)
    image: Stack = shadow.astype(np.float32)
    return image


def _device(x: Floats, y: Floats) -> Floats:
    """A pacemaker below the patient's left collar bone, and its lead to the heart."""
    case = _step(0.075 - np.abs(x - 0.5), 0.01) * _step(0.06 - np.abs(y + 0.45), 0.01)
    lead = np.exp(-(((x - 0.12 - 0.55 * (0.1 - y) ** 2) / 0.012) ** 2)) * _step(y + 0.42, 0.02) * _step(0.25 - y, 0.02)
    device: Floats = 1.6 * case + 0.7 * lead
    return device


def _texture(rng: np.random.Generator, n: int, size: int) -> Stack:
    """Smooth noise of deviation about 1, float32[n, size, size], from coarse grids stretched bilinearly."""
    total = np.zeros((n, size, size), np.float32)
    for cells in (6, 12, 20):
        place = np.linspace(0, cells - 1, size, dtype=np.float32)
        stretch = np.clip(1 - np.abs(place[:, None] - np.arange(cells, dtype=np.float32)), 0, 1)
        total += stretch @ rng.standard_normal((n, cells, cells), np.float32) @ stretch.T
    total /= np.float32(1.2)
    return total


def _crest(angle: Floats) -> Floats:
    """Waves with flat valleys: the fourth power of the cosine where that is above 0."""
    crest: Floats = np.square(np.square(np.maximum(np.cos(angle), 0)))
    return crest


def _dome(x: Floats, y: Floats | np.float32) -> Floats:
    """Thickness of the unit ball seen from above."""
    dome: Floats = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    return dome


def _blob(x: Floats, y: Floats, radius: float | Floats) -> Floats:
    # A product of two lines, not a plane of exponentials: x varies along the width alone, y along the height.
    blob: Floats = np.exp(-((x / radius) ** 2)) * np.exp(-((y / radius) ** 2))
    return blob


def _step(distance: Floats, soft: float) -> Floats:
    """0 to 1 where `distance` passes 0, over about `soft`; a rational curve, for exp would cost most of the drawing."""
    scaled = distance * np.float32(1 / soft)
    step: Floats = 0.5 + 0.5 * scaled / (1 + np.abs(scaled))
    return step
