"""Radiograph-like chest phantoms of several hospitals. Synthetic, and called so wherever they appear.

Hospitals differ in scanner, noise, prevalence and size; how a chest is drawn: `radiographs`. Nothing here is a model of
disease: it is something of the right shape to see a federation learn on.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from client.sources.case_table import Facts, Table
from client.sources.radiographs import only, radiographs
from client.sources.scanner_shift import Scanner
from common.config import DRAWN, Synthetic
from common.imaging import Picture
from common.types import Labels, Stack

CITIES = ("Lisbon", "Nairobi", "Osaka", "Quito", "Tromsø", "Hanoi", "Leeds", "Lima", "Pune", "Perth")
CLASSES = ("clear", "opacity", "effusion", "nodule")

FINDING_SHARE = 0.6
"""Of a hospital's prevalence, that of each finding."""
_CHUNK = 64
"""Images drawn at once: their arrays stay in the processor's cache."""


@dataclass(frozen=True)
class Hospital:
    """One synthetic site: its size, prevalence and scanner."""

    name: str
    cases: int
    prevalence: float
    scanner: Scanner


@dataclass(frozen=True)
class Phantoms:
    """The drawn images, float32[n, s, s] of 0..1."""

    stack: Stack

    def __len__(self) -> int:
        return len(self.stack)

    def name(self, index: int) -> str:
        """A name for messages."""
        return f"synthetic image {index}"

    def facts(self, index: int) -> Facts:
        """Size, range and digest; the drawing order serves as digest, for no two are alike."""
        image = self.stack[index]
        return Facts((*image.shape, 1), float(image.min()), float(image.max()), index.to_bytes(16, "big"))

    def nominal(self, index: int) -> tuple[float, float]:
        """Phantoms lie in 0..1."""
        return 0.0, 1.0

    def content(self, index: int) -> str:
        """Each image shows somebody else."""
        return str(index)

    def thumbnail(self, index: int) -> bytes:
        """None: each image shows somebody else."""
        return b""

    def pictures(self, indices: Sequence[int]) -> Iterator[Picture]:
        """The images as read."""
        for index in indices:
            yield Picture(self.stack[index, :, :, None], 0.0, 1.0, self.name(index))

    def view(self, index: int) -> bytes:
        """The phantom's pixels."""
        return hashlib.blake2b(self.stack[index].tobytes(), digest_size=16).digest()

    def sealer(self, index: int) -> None:
        """None: it shows nobody."""


def draw(source: Synthetic) -> Table:
    """The whole data set: the same bits for the same configuration."""
    places = hospitals(source)
    labels = [_labels(source, place, i) for i, place in enumerate(places)]
    stacks = [
        _scan(source, place, i, labels_here) for i, (place, labels_here) in enumerate(zip(places, labels, strict=True))
    ]
    classes = source.findings or (("clear", "disease") if source.classes == 2 else CLASSES[: source.classes])
    names = tuple(place.name for place in places for _ in range(place.cases))
    return Table(source.labels or classes, np.concatenate(labels), Phantoms(np.concatenate(stacks)), site=names)


def hospitals(source: Synthetic) -> list[Hospital]:
    """Sizes fall from the first to the last, about fourfold; prevalences and scanners are drawn."""
    rng = _stream(source, 0)
    weight = np.geomspace(2.0, 0.5, source.sites) if source.sites > 1 else np.ones(1)
    cases = np.maximum(10, np.round(weight / weight.mean() * source.cases)).astype(int)
    all_hospitals = []
    for i in range(source.sites):
        city = CITIES[i % len(CITIES)]
        scanner = Scanner(
            gain=float(rng.uniform(0.75, 1.0)),
            contrast=float(np.exp(rng.uniform(-0.35, 0.45))),
            blur=float(rng.uniform(0.002, 0.014)),
            noise=float(rng.uniform(0.015, 0.055)),
        )
        number = f" {i // len(CITIES) + 1}" if i >= len(CITIES) else ""
        all_hospitals.append(Hospital(f"{city}{number}", int(cases[i]), float(rng.uniform(0.3, 0.6)), scanner))
    return all_hospitals


def _labels(source: Synthetic, place: Hospital, index: int) -> Labels:
    rng = _stream(source, 1, index)
    if k := len(source.findings):
        labels = (rng.random((place.cases, k)) < place.prevalence * FINDING_SHARE).astype(np.int64)
        labels[: 2 * k] = np.tile(np.eye(k, dtype=np.int64), (2, 1))  # no site without a finding
        return rng.permutation(labels)
    ill = rng.random(place.cases) < place.prevalence
    labels = np.where(ill, rng.integers(1, source.classes, place.cases), 0)
    labels[: source.classes] = np.arange(source.classes)  # no site without a class
    return rng.permutation(labels).astype(np.int64)


def _scan(source: Synthetic, place: Hospital, index: int, labels: Labels) -> Stack:
    rng = _stream(source, 2, index)
    if source.findings:
        present = np.zeros((len(labels), len(DRAWN)), bool)
        present[:, [DRAWN.index(name) for name in source.findings]] = labels == 1
    else:
        # Two classes: the ill have any of the three kinds. More: each kind is a class of its own.
        kinds = np.where(labels > 0, rng.integers(1, 4, len(labels)), 0) if source.classes == 2 else labels
        present = only(kinds)
    chunks = [present[i : i + _CHUNK] for i in range(0, len(present), _CHUNK)]
    return np.concatenate([place.scanner.scan(radiographs(chunk, source.size, rng), rng) for chunk in chunks])


def _stream(source: Synthetic, *purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([source.seed, *purpose])))
