"""One image after every step of the preprocessing, side by side, as a PNG."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.errors import DataError
from common.types import Stack

ACROSS = 4


def draw(steps: Sequence[tuple[str, Stack]], title: str, out: Path) -> None:
    """Write a picture of `steps`: labels and images float32[h, w, c]. What a step adds as a channel is shown by itself.

    Raises:
        DataError: the file cannot be written.
    """
    across = min(ACROSS, len(steps))
    down = math.ceil(len(steps) / across)
    figure = Figure(figsize=(3.1 * across, 3.5 * down + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, color="0.35")
    before = steps[0][1].shape[2]
    for number, (label, image) in enumerate(steps):
        axes = figure.add_subplot(down, across, number + 1)
        shown = image[:, :, -1] if image.shape[2] > before or image.shape[2] not in (1, 3) else image.squeeze()
        before = image.shape[2]
        low, high = float(shown.min()), float(shown.max())
        inside = low >= 0 and high <= 1
        ends = (0.0, 1.0) if inside else (low, max(high, low + 1e-6))
        if shown.ndim == 3:
            shown = np.clip((shown - ends[0]) / (ends[1] - ends[0]), 0, 1)
        axes.imshow(shown, cmap="gray", vmin=ends[0], vmax=ends[1], interpolation="nearest")
        axes.set_title(f"{number}  {label}", fontsize=9, wrap=True)
        axes.set_xlabel(f"{image.shape[0]}×{image.shape[1]}×{image.shape[2]}   {low:.4g} … {high:.4g}", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    try:
        figure.savefig(out, format="png", dpi=110)
    except OSError as error:
        raise DataError(
            f"{out}: the picture cannot be written ({error.strerror}). Give another place with --out."
        ) from None
