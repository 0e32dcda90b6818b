"""What a shared model says of an image, and how far that can be believed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from client.prediction.inputs import Image
from common.cli.harmless import legible
from common.errors import DataError
from common.imaging import Picture
from common.metrics import calibration, performance
from common.metrics.calibration import Neighbours
from common.metrics.out_of_distribution import Reference
from common.models import Logits, Model
from common.package import Calibration, ModelPackage, PackageContent
from common.types import Stack

TOGETHER, TOGETHER_PIXELS = 256, 1 << 24
"""Images read before a batch is scored: as many as this, or of so many pixels."""


@dataclass(frozen=True)
class Outcome:
    """What the model says of one image."""

    name: str
    picture: Picture
    model_input: Stack
    """What the model saw: float32[1, h, w, c], before federated normalisation."""
    logits: tuple[float, ...]
    answer: int
    """Index of the class that it is called, by the operating point."""
    probabilities: tuple[float, ...] | None
    """Of every class, fitted to validation counts; None where nothing was evaluated."""
    point: float | None
    """The operating point as a probability of the second class; two classes alone have one."""
    alike: Neighbours | None
    """Validation cases that were scored like this one; `of_class` counts those of the answer."""
    distance: float | None
    """From the training images (`common.metrics.out_of_distribution`); None where it does not know their look."""
    finding: int | None = None
    """Which of several findings it is about: its two classes are without it, and with it."""

    @property
    def label(self) -> int:
        """The model's own number of the answer, or of the finding."""
        return self.answer if self.finding is None else self.finding


@dataclass(frozen=True)
class Failure:
    """An image that could not be used."""

    name: str
    why: str


def outcomes(package: ModelPackage, model: Model, images: Sequence[Image]) -> Iterator[Outcome | Failure]:
    """One for every image, or for every finding of it, in no more memory than a batch needs; what cannot be read is
    named, and the rest goes on."""
    waiting: list[tuple[str, Picture]] = []
    pixels = 0
    for image in images:
        try:
            read = image.read()
        except DataError as error:
            yield _failure(image.name, error)
            continue
        waiting += [(image.name + (f" (frame {i})" if len(read) > 1 else ""), p) for i, p in enumerate(read)]
        pixels += sum(picture.pixels.size for picture in read)
        if len(waiting) >= TOGETHER or pixels >= TOGETHER_PIXELS:
            yield from _score(package, model, waiting)
            waiting, pixels = [], 0
    yield from _score(package, model, waiting)


def _score(package: ModelPackage, model: Model, batch: Sequence[tuple[str, Picture]]) -> Iterator[Outcome | Failure]:
    if not batch:
        return
    try:
        model_input = package.pipeline.before([picture for _, picture in batch])
        logits = package.scores(model, model_input)
    except DataError as error:
        if len(batch) == 1:
            yield _failure(batch[0][0], error)
            return
        for one in batch:  # so that the one that is at fault is named, and no other suffers
            yield from _score(package, model, [one])
        return
    reference = Reference.of(package.likeness) if package.content.likeness else None
    distances = reference.distances(model_input).tolist() if reference else [None] * len(batch)
    for i, (name, picture) in enumerate(batch):
        if not np.isfinite(logits[i]).all():
            low, high = float(picture.pixels.min()), float(picture.pixels.max())
            yield Failure(name, f"its pixels reach from {low:.3g} to {high:.3g}, of which the model makes no number.")
            continue
        single, scores = model_input[i : i + 1], logits[i : i + 1]
        if package.content.model.multilabel:
            for j in range(scores.shape[1]):
                pair = np.array([[0.0, scores[0, j]]], np.float32)
                about = outcome(package.content.of_finding(j), name, picture, single, pair, distances[i])
                yield replace(about, finding=j)
        else:
            yield outcome(package.content, name, picture, single, scores, distances[i])


def outcome(
    content: PackageContent, name: str, picture: Picture, model_input: Stack, logits: Logits, distance: float | None
) -> Outcome:
    """What logits float32[1, k] mean, of classes; of several findings, `content.of_finding` and two logits."""
    margins = performance.margins(logits)[0]
    two = len(content.labels) == 2
    threshold = 0.0 if isinstance(content.threshold, tuple) else content.threshold or 0.0
    answer = int(margins[0] > threshold) if two else int(logits[0].argmax())
    scored = {one.label: (one, float(margin)) for one, margin in zip(content.calibration, margins, strict=False)}
    probabilities: tuple[float, ...] | None = None
    point, alike = None, None
    if scored:
        by_class = {k: float(calibration.probability(m, c.slope, c.intercept)) for k, (c, m) in scored.items()}
        alike = _alike(scored, answer)
        if two:
            probabilities = (1 - by_class[1], by_class[1])
            one = scored[1][0]
            point = float(calibration.probability(threshold, one.slope, one.intercept))
        else:
            total = sum(by_class.values())
            probabilities = tuple(by_class[k] / total for k in range(len(content.labels)))
    scores = tuple(map(float, logits[0]))
    return Outcome(name, picture, model_input, scores, answer, probabilities, point, alike, distance)


def _alike(scored: dict[int, tuple[Calibration, float]], answer: int) -> Neighbours | None:
    one, margin = scored.get(answer) or scored[1]
    outside, inside = (
        calibration.dense(np.array(one.bins), np.array(side), one.spacing) for side in (one.outside, one.inside)
    )
    if answer != one.label:  # of two classes the first, whose cases are those outside the second
        outside, inside = inside, outside
    return calibration.neighbours(margin, outside, inside)


def percent(probability: float) -> str:
    """A probability for people: never quite 0 nor 100 %."""
    return "< 1 %" if probability < 0.01 else "> 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def statement(content: PackageContent, result: Outcome) -> str:
    """The calibrated statement, as a sentence."""
    if result.alike is None:
        return "Nothing was evaluated, so nothing is known of how often such an answer is right."
    if not result.alike.n:
        return "No validation case was scored like this one: nothing is known of how often such an answer is right."
    low, high = result.alike.interval or (0.0, 1.0)
    share = 100 * result.alike.of_class / result.alike.n
    among = "For images like the training's: of" if warning(content, result) else "Of"
    return (
        f"{among} {result.alike.n} validation cases scored like this one, {result.alike.of_class} ({share:.0f} %, 95 % "
        f"interval {100 * low:.0f}–{100 * high:.0f} %) were {content.labels[result.answer]}."
    )


def warning(content: PackageContent, result: Outcome) -> str:
    """That an image is unlike those of the training; empty where it is not, or nothing is known of it."""
    if result.distance is None or content.likeness is None or result.distance <= content.likeness.limit:
        return ""
    far, share = result.distance / content.likeness.limit, 100 * (1 - content.likeness.share)
    return (
        f"UNLIKE the training images: {far:.1f} times as far from them as {share:.0f} % of the validation images. "
        "Do not rely on the answer."
    )


def blindness(content: PackageContent) -> str:
    """That nothing is known of how the training images look; empty where something is."""
    if content.likeness:
        return ""
    return (
        "How this model's training images look is not known: no warning is given for an image of another kind. "
        "Its card says why."
    )


def _failure(name: str, error: DataError) -> Failure:
    return Failure(name, legible(str(error)).removeprefix(f"{name}: "))
