"""The steps of a configuration as one function from pictures to a stack, with a fingerprint for sites to compare."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DataError
from common.image_stack import with_step
from common.imaging.embedding import Embed
from common.imaging.picture import Picture
from common.imaging.picture_checks import refuse_different_shapes, refuse_not_finite, size_words
from common.imaging.step_base import Transform
from common.imaging.step_order import AnyStep, in_order
from common.imaging.steps import Normalise, Window
from common.imaging.window import standardise
from common.types import Images, Stack

IMPLEMENTATION = "2"  # Raise it whenever a step's arithmetic changes: sites of different releases then refuse to mix.
BATCH_PIXELS = 1 << 18  # read, grouped and processed at once, so that memory stays small and most of it in cache


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation over all sites' training images, float32[h, w, c] or float32[c]."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


class Pipeline:
    """Preprocessing as configured. Where it normalises by federated statistics it stops before that until it has them.

    pipeline = Pipeline(config.preprocess)
    stack = pipeline.before(pictures)                       # what the statistics are taken from, and what is cached
    if pipeline.needs_statistics:
        pipeline = pipeline.resolved(mean, variance)        # sums over all sites, divided
    images = pipeline.after(stack)
    """

    def __init__(self, steps: Sequence[AnyStep] = (), statistics: Statistics | None = None) -> None:
        try:
            self.steps = in_order(steps)
        except ValueError as error:
            raise ConfigError(f"preprocess: {error}.") from None
        self.statistics = statistics
        self._window, self._rest = _apart(self.steps)
        federated = [i for i, step in enumerate(self._rest) if isinstance(step, Normalise) and step.by == "federated"]
        self._split = federated[0] if federated else len(self._rest)
        embeds = [i for i, step in enumerate(self._rest) if isinstance(step, Embed)]
        self._shown = embeds[0] if embeds else self._split

    @property
    def needs_statistics(self) -> bool:
        """Whether a federated mean and variance are asked for and not yet known."""
        return self._split < len(self._rest) and self.statistics is None

    def fingerprint(self) -> str:
        """SHA-256 over the steps and their settings, the implementation's version, and the statistics once known."""
        digest = hashlib.sha256(_describe(self.steps))
        if self.statistics:
            for array in (self.statistics.mean, self.statistics.deviation):
                digest.update(json.dumps(array.shape).encode() + array.astype("<f4").tobytes())
        return digest.hexdigest()

    def early_fingerprint(self) -> str:
        """SHA-256 over the steps that `before` takes and the implementation's version."""
        return hashlib.sha256(_describe([self._window, *self._rest[: self._split]])).hexdigest()

    @property
    def embed(self) -> Embed | None:
        """The step that puts an encoder's numbers in the place of the image, if there is one."""
        return next((step for step in self._rest if isinstance(step, Embed)), None)

    def encoder_input(self, pictures: Iterable[Picture]) -> Stack:
        """All steps before `embed`, as the encoder takes what comes of them: float32[n, size, size, 3]; without an
        encoder what `before` gives. Pictures may differ in size as long as a step makes them one; they are read as they
        are needed.

        Raises:
            DataError: naming a picture that is not finite, or the sizes that remain different.
        """
        parts = list(self._in_batches(pictures))
        if not parts:
            raise DataError("no image to preprocess.")
        examples = dict[tuple[int, int, int], str]()
        for part in parts:
            _, height, width, channels = part.stack.shape
            examples.setdefault((height, width, channels), part.example)
        refuse_different_shapes(examples)
        result = np.empty((sum(len(part.numbers) for part in parts), *parts[0].stack.shape[1:]), np.float32)
        while parts:  # freed one by one, so that nothing is held twice
            part = parts.pop()
            result[part.numbers] = part.stack
        return result

    def encoder_output(self, stack: Stack) -> Stack:
        """What the encoder makes of what it is shown, and the steps after it up to the federated normalisation; without
        an encoder the stack as it is."""
        if self.embed is None:
            return stack
        stack = self.embed.numbers(stack)
        for step in self._rest[self._shown + 1 : self._split]:
            stack = step.apply(stack)
        return stack

    def with_statistics(self, mean: NDArray[np.floating], variance: NDArray[np.floating]) -> "Pipeline":
        """The same pipeline with the federated statistics [h, w, c]; they are pooled here where it is per channel.

        Raises:
            DataError: for statistics that are not finite or of different shapes, or a negative variance.
        """
        if not self._split < len(self._rest):
            raise ValueError("this pipeline has no federated normalisation")
        if (
            mean.shape != variance.shape
            or mean.ndim != 3
            or not (np.isfinite(mean).all() and np.isfinite(variance).all())
        ):
            raise DataError(
                f"federated statistics: expected finite [h, w, c], got mean {mean.shape} and variance {variance.shape}."
            )
        if variance.min() < -1e-6 * max(1.0, float(np.square(mean).max())):
            raise DataError(
                f"federated statistics: a variance of {variance.min():g}. Was every site's count summed along?"
            )
        mean, variance = mean.astype(np.float64), np.maximum(variance.astype(np.float64), 0)
        step = self._rest[self._split]
        if isinstance(step, Normalise) and step.per == "channel":
            between = np.square(mean - mean.mean(axis=(0, 1))).mean(axis=(0, 1))
            mean, variance = mean.mean(axis=(0, 1)), variance.mean(axis=(0, 1)) + between
        return Pipeline(self.steps, Statistics(mean.astype(np.float32), np.sqrt(variance).astype(np.float32)))

    def before(self, pictures: Iterable[Picture]) -> Stack:
        """All steps up to the federated normalisation (all there are, where there is none): float32[n, h, w, c].

        Raises:
            DataError: as `encoder_input`.
            EncoderError: the encoder is not here, or makes numbers that are not finite.
        """
        return self.encoder_output(self.encoder_input(pictures))

    def after(self, images: Images) -> Images:
        """The steps from the federated normalisation on; where there is none, the images as they are."""
        if self._split == len(self._rest):
            return images
        if self.statistics is None:
            raise ValueError("the federated statistics are not known yet: Pipeline.resolved(mean, variance)")
        if self.statistics.mean.shape[-1] != images.shape[3] or (
            self.statistics.mean.ndim == 3 and self.statistics.mean.shape != images.shape[1:]
        ):
            raise DataError(
                f"images of {size_words(images.shape[1:])}, but the federated statistics are of "
                f"{size_words(self.statistics.mean.shape)}. Every site must bring images of one size: add a resize."
            )
        return with_step(images, self._last_steps)

    def apply(self, pictures: Iterable[Picture]) -> Stack:
        """The whole pipeline."""
        return self.after(self.before(pictures))[:]

    def _last_steps(self, stack: Stack) -> Stack:
        if self.statistics is None:
            raise ValueError("the federated statistics are not known yet")
        stack = standardise(stack, self.statistics.mean, self.statistics.deviation)
        for step in self._rest[self._split + 1 :]:
            stack = step.apply(stack)
        return stack

    def trace(self, picture: Picture) -> list[tuple[str, Stack]]:
        """The picture as read and after every step, each with the step's label: float32[h, w, c].

        Without federated statistics the image's own stand in, and the label says so.
        """
        refuse_not_finite(0, picture)
        images = [("as read", picture.pixels)]
        stack = self._to_unit([picture])
        images.append((self._window.label(), stack[0]))
        for number, step in enumerate(self._rest):
            label = step.label()
            if number == self._split and self.statistics is not None:
                stack = standardise(stack, self.statistics.mean, self.statistics.deviation)
            elif number == self._split:
                stack = Normalise(step="normalise", by="image").apply(stack)
                label += " (here: this image's own)"
            else:
                stack = step.apply(stack)
            images.append((label, stack[0]))
        return images

    def _in_batches(self, pictures: Iterable[Picture]) -> "Iterator[_StepGroup]":
        waiting: list[tuple[int, Picture]] = []
        pixels = 0
        for number, picture in enumerate(pictures):
            refuse_not_finite(number, picture)
            waiting.append((number, picture))
            pixels += picture.pixels.size
            if pixels >= BATCH_PIXELS:
                yield from self._together(waiting)
                waiting, pixels = [], 0
        yield from self._together(waiting)

    def _together(self, waiting: list[tuple[int, Picture]]) -> "Iterator[_StepGroup]":
        """One batch, grouped by shape."""
        groups: dict[tuple[int, ...], list[tuple[int, Picture]]] = {}
        for number, picture in waiting:
            groups.setdefault(picture.pixels.shape, []).append((number, picture))
        for group in groups.values():
            stack = self._to_unit([picture for _, picture in group])
            for step in self._rest[: self._shown]:
                stack = step.apply(stack)
            stack = self.embed.inputs(stack) if self.embed else stack
            first, picture = group[0]
            yield _StepGroup([number for number, _ in group], picture.name or f"image {first}", stack)

    def _to_unit(self, pictures: list[Picture]) -> Stack:
        if self._window.center is not None and (names := [p.name for p in pictures if p.is_shown]):
            raise DataError(
                f"{names[0] or 'an image'}: its file shows its values by a curve (VOI LUT or SIGMOID), to which a "
                "fixed window in natural units does not apply. Use {step: window, source: file} or source: percentile."
            )
        stack = np.stack([picture.pixels for picture in pictures])
        low = np.array([picture.low for picture in pictures], np.float32)
        return self._window.to_unit(stack, low, np.array([picture.high for picture in pictures], np.float32))


@dataclass(frozen=True)
class _StepGroup:
    """Processed images of one shape, and their places in the result."""

    numbers: list[int]
    example: str
    """What an error should call one of them."""
    stack: Stack


def _describe(steps: Iterable[AnyStep | Transform]) -> bytes:
    """What a fingerprint is of: the steps with their settings, and how this release computes them."""
    description = {"implementation": IMPLEMENTATION, "steps": [step.model_dump(mode="json") for step in steps]}
    return json.dumps(description, sort_keys=True, separators=(",", ":")).encode()


def _apart(steps: tuple[AnyStep, ...]) -> tuple[Window, tuple[Transform, ...]]:
    rest = tuple(step for step in steps if isinstance(step, Transform))
    first = steps[0]
    assert isinstance(first, Window)  # noqa: S101 - in_order has seen to it
    return first, rest
