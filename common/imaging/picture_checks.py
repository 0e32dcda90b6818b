"""Which pictures preprocessing refuses: numbers that are not finite, and sizes that stay different after all steps."""

from collections.abc import Mapping

import numpy as np

from common.errors import DataError
from common.imaging.picture import Picture


def refuse_not_finite(number: int, picture: Picture) -> None:
    """Refuse a picture with a pixel or bound that is no finite number.

    Raises:
        DataError: naming it, or by its number where it has no name.
    """
    what = "" if np.isfinite((picture.low, picture.high)).all() else "bounds"
    what = what if np.isfinite(picture.pixels).all() else "pixels"
    if what:
        raise DataError(
            f"{picture.name or f'image {number}'}: holds NaN or infinite {what}, expected finite numbers. "
            "Mend or leave out this image."
        )


def refuse_different_shapes(examples: Mapping[tuple[int, int, int], str]) -> None:
    """Refuse images of several shapes, given the name of one of each.

    Raises:
        DataError: naming them.
    """
    if len(examples) > 1:
        some = [f"{size_words(shape)} (such as {example})" for shape, example in list(examples.items())[:5]]
        more = f" and {len(examples) - 5} more" if len(examples) > 5 else ""
        channels = len({shape[2] for shape in examples}) > 1
        raise DataError(
            f"after preprocessing the images differ in size: {', '.join(some)}{more}. Add a step to `preprocess` that "
            f"makes them one, such as {{step: resize, size: 64}}{' and {step: grey}' if channels else ''}."
        )


def size_words(shape: tuple[int, ...]) -> str:
    """A shape as people write it: 64×64×1."""
    return "×".join(map(str, shape))
