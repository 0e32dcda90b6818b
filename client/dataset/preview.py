"""One image after every preprocessing step, as a picture to look at before a run: `python -m client preview`."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client import readers
from client.readers.source import ImageFile, ImageSource
from common.config import Config
from common.errors import DataError
from common.imaging import Pipeline
from common.types import Stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLUMNS = 5
PANEL_INCHES = 3.0
LINE = 38  # letters of a title
INK, QUIET, BARS = "#22272e", "#6b7683", "#3b6ea5"
TINTS = {"orange": (1.0, 0.55, 0.1), "cyan": (0.1, 0.8, 0.9)}  # of the channels that edges and clusters add


def preview(image: ImageSource, config: Config, out: Path, frames: readers.Frames = "middle") -> Path:
    """Read an image, run the configured steps on it, and write a PNG of what each made of it.

    Raises:
        ImageError: the image cannot be read.
        DataError: a step does not fit the image, or `out` cannot be written.
    """
    if isinstance(image, ImageFile) and out.resolve() == image.path.resolve():
        raise DataError(f"{out}: is the image itself. Choose another place with --out.")
    picture = readers.read(image, frames)[0]
    title = f"{Path(str(image)).name}  ·  preprocessing of {config.name}"
    return draw(Pipeline(config.preprocess).trace(picture), title, out)


def draw(stages: Sequence[tuple[str, Stack]], title: str, out: Path) -> Path:
    """Write a grid of labelled images float32[h, w, c], as read and after each step, each over its histogram.

    Raises:
        DataError: `out` cannot be written.
    """
    from matplotlib.figure import Figure

    rows = -(-len(stages) // MOST_COLUMNS)
    columns = -(-len(stages) // rows)
    figure = Figure(figsize=(PANEL_INCHES * columns, 1.6 * PANEL_INCHES * rows + 0.4), dpi=110)
    figure.set_layout_engine("constrained", h_pad=0.08)
    figure.suptitle("\n".join(textwrap.wrap(title, LINE * columns)), fontsize=12, color=INK, fontweight="bold",
                    parse_math=False)  # fmt: skip
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[4.5, 1.0] * rows)
    titles = [textwrap.wrap(label if n == 0 else f"{n}. {label}", LINE) for n, (label, _) in enumerate(stages)]
    own_channels = stages[0][1].shape[2]
    for number, (_, image) in enumerate(stages):
        row, column = divmod(number, columns)
        own_channels = 1 if image.shape[2] < 3 else own_channels
        value_range = _display_range(image[..., :own_channels])
        panel = figure.add_subplot(grid[2 * row, column])
        panel.imshow(
            _colours(image, own_channels, value_range),
            interpolation="nearest" if max(image.shape) < 256 else "antialiased",
        )
        level = max(map(len, titles[row * columns : (row + 1) * columns]))
        _caption(panel, "\n".join(titles[number] + [" "] * (level - len(titles[number]))), image, own_channels)
        _histogram(figure.add_subplot(grid[2 * row + 1, column]), image[..., :own_channels], value_range)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture := io.BytesIO(), format="png")
        out.write_bytes(picture.getvalue())
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}). Choose another place with --out.") from None
    return out


def _display_range(image: Stack) -> tuple[float, float]:
    """The range from black to white: 0..1 while the image lies in it, else its own."""
    low, high = float(image.min()), float(image.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _colours(image: Stack, own_channels: int, value_range: tuple[float, float]) -> Stack:
    """The image's own channels as RGB in 0..1, with every added channel as a tint over it: float32[h, w, 3]."""
    low, high = value_range
    colours: Stack = np.clip((image[..., :own_channels] - low) / max(high - low, 1e-12), 0, 1)
    colours = np.repeat(colours, 3, axis=2) if own_channels == 1 else colours
    for channel, tint in zip(range(own_channels, image.shape[2]), TINTS.values(), strict=False):
        added = image[..., channel : channel + 1]
        strength = 0.45 * (added - added.min()) / (float(np.ptp(added)) or 1.0)
        colours = colours * (1 - strength) + np.array(tint, np.float32) * strength
    return colours


def _caption(panel: "Axes", title: str, image: Stack, own_channels: int) -> None:
    panel.set_title(title, fontsize=9.5, color=INK, loc="left")
    h, w, c = image.shape
    added = ", ".join(name for name, _ in zip(TINTS, range(c - own_channels), strict=False))
    words = f"{h}×{w} {'grey' if own_channels == 1 else 'RGB'}"
    panel.set_xlabel(words + (f", added channels: {added}" if added else ""), fontsize=8, color=QUIET)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)


def _histogram(panel: "Axes", image: Stack, value_range: tuple[float, float]) -> None:
    """Root of the counts, so that a black background does not hide the rest; least, greatest and mean in words."""
    low, high = value_range if value_range[1] > value_range[0] else (value_range[0] - 0.5, value_range[0] + 0.5)
    counts, edges = np.histogram(image, bins=64, range=(low, high))
    panel.stairs(np.sqrt(counts), edges, fill=True, color=BARS)
    words = [_number(float(value)) for value in (image.min(), image.max(), image.mean(dtype=np.float64))]
    panel.set_xlabel("{} … {}, mean {}".format(*words), fontsize=8, color=QUIET)
    panel.set_yticks([])
    panel.tick_params(labelsize=7, colors=QUIET, length=2)
    panel.locator_params(axis="x", nbins=4)
    panel.margins(x=0.01)
    for side in ("top", "left", "right"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color(QUIET)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 3) + 0.0:g}"
