"""One image with what speaks for the answer laid over it, as a picture: for a look, not for a finding."""

import io
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from client.prediction.outcome import Outcome, percent, statement
from common.imaging import Picture, filters, geometry
from common.imaging.footprint import Footprint, footprint
from common.models import Evidence
from common.package import PackageContent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SHOWN_PX = 1024
"""Along a side: a mammogram is shrunk for the picture."""
FINE = 256
"""Points along a side that the evidence is drawn with."""
INK, QUIET, ALARM, MARK = "#22272e", "#5b6673", "#a3260d", "#0b6bb5"
MOST = 99.5
"""Percentile of the evidence that is drawn as most."""
STRONGEST = 0.65
"""How much the strongest evidence covers of the image."""


def draw(outcome: Outcome, evidence: Evidence, content: PackageContent, warning: str, title: str) -> bytes:
    """A PNG of one image with its evidence and its answer.

    Args:
        warning: that the image is unlike the training's; empty: it is not.
        title: what it says at the top.
    """
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():  # a name may hold dollar signs,
        warnings.simplefilter("ignore")  # and letters that the font has not
        return _draw(outcome, evidence, content, warning, title)


def _draw(outcome: Outcome, evidence: Evidence, content: PackageContent, warning: str, title: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 8.4), dpi=144, facecolor="white")  # narrow: its words can be read on a phone
    grey, (height, width) = _to_rgb(outcome.picture), outcome.picture.pixels.shape[:2]
    area = footprint(content.preprocess, height, width)
    for at, title in ((0.04, "the image, as read"), (0.52, _title(evidence, content.labels[outcome.answer]))):
        panel = figure.add_axes((at, 0.475, 0.44, 0.435), anchor="N")
        panel.imshow(grey, extent=(0, width, height, 0), interpolation="nearest" if width < 128 else "antialiased")
        panel.set_title("\n".join(textwrap.wrap(title, 40)), fontsize=12, color=INK, loc="left")
        if at > 0.5:
            key = _overlay(panel, evidence, area)
        _edges(panel, area, height, width)
    _key(figure.add_axes((0.52, 0.44, 0.44, 0.018)), key, evidence)
    figure.text(0.04, 0.965, "\n".join(textwrap.wrap(title, 80)[:1]), fontsize=12, color=QUIET)
    _words(figure, outcome, content, warning)
    figure.savefig(content_png := io.BytesIO(), format="png")
    return content_png.getvalue()


def _title(evidence: Evidence, answer: str) -> str:
    return f"orange for “{answer}”, violet against" if evidence.is_signed else f"what speaks for “{answer}”"


def _to_rgb(picture: Picture) -> NDArray[np.float32]:
    """The picture in its own window, no larger than a screen: float32[h, w, 3] in 0..1."""
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, MOST_SHOWN_PX / max(height, width))
    small = geometry.resize(picture.pixels[None], max(1, round(height * scale)), max(1, round(width * scale)))[0]
    unit = np.clip((small - picture.low) / max(picture.high - picture.low, 1e-12), 0, 1).astype(np.float32)
    return np.repeat(unit, 3, axis=2) if unit.shape[2] == 1 else unit


def _overlay(panel: "Axes", evidence: Evidence, area: Footprint) -> Any:
    """Lay the evidence over what the model saw of the image, the more opaque the stronger it is."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    heat = _smooth(evidence)
    limit = float(np.percentile(np.abs(heat), MOST)) or 1.0  # that one corner does not pale all the rest
    scale = Normalize(-limit if evidence.is_signed else 0.0, limit)
    key = ScalarMappable(scale, "PuOr_r" if evidence.is_signed else "inferno")
    panel.imshow(_tints(key, heat), extent=(area.left, area.right, area.bottom, area.top), interpolation="bilinear")
    return key


def _tints(key: Any, heat: NDArray[Any]) -> NDArray[Any]:
    """Colours with their opacity: weak evidence leaves the image as it is."""
    colours: NDArray[Any] = key.to_rgba(heat)
    strength = np.minimum(np.abs(heat) / key.get_clim()[1], 1)
    colours[..., 3] = STRONGEST * np.clip(1.8 * strength - 0.15, 0, 1)
    return colours


def _smooth(evidence: Evidence) -> NDArray[np.float32]:
    """The evidence on a fine grid: single pixels of a small image say little, patches of them more."""
    grid = evidence.map[None, ..., None].astype(np.float32)
    if evidence.is_signed:
        grid = filters.gaussian(grid, max(0.8, max(grid.shape[1:3]) / 28))
    height, width = grid.shape[1:3]
    scale = max(1.0, FINE / max(height, width))
    return geometry.resize(grid, round(height * scale), round(width * scale))[0, ..., 0]


def _edges(panel: "Axes", area: Footprint, height: int, width: int) -> None:
    """A frame around what the model saw, where that is not the whole image."""
    from matplotlib.patches import Rectangle

    if (area.top, area.left, area.bottom, area.right) != (0, 0, height, width):
        size = area.right - area.left, area.bottom - area.top
        panel.add_patch(Rectangle((area.left, area.top), *size, fill=False, edgecolor=MARK, linewidth=1.2, ls="--"))
    panel.set_xlim(0, width)
    panel.set_ylim(height, 0)
    panel.set_xticks([])
    panel.set_yticks([])


def _key(panel: "Axes", key: Any, evidence: Evidence) -> None:
    low, high = key.get_clim()
    panel.set_facecolor("#8c8c8c")  # as over a grey of the image
    tints = _tints(key, np.linspace(low, high, 256))[None]
    panel.imshow(tints, aspect="auto", extent=(low, high, 0, 1))
    panel.set_yticks([])
    names = ["most against", "nothing", "most for"] if evidence.is_signed else ["nothing", "most for"]
    panel.set_xticks([low, 0, high] if evidence.is_signed else [low, high], names, fontsize=10.5, color=INK)
    panel.get_xticklabels()[0].set_horizontalalignment("left")
    panel.get_xticklabels()[-1].set_horizontalalignment("right")


def _words(figure: Any, outcome: Outcome, content: PackageContent, warning: str) -> None:
    answer = content.labels[outcome.answer]
    figure.text(0.04, 0.315, "\n".join(textwrap.wrap(answer, 22)[:2]), fontsize=20, color=QUIET if warning else INK,
                fontweight="bold", va="center")  # fmt: skip
    if outcome.probabilities is not None:
        _scale(figure.add_axes((0.52, 0.305, 0.44, 0.026)), outcome, content)
    top = 0.245
    if warning:
        lines = textwrap.wrap(warning, 70)
        figure.text(0.04, top, "\n".join(lines), fontsize=12, color=ALARM, va="top", fontweight="bold")
        top -= 0.01 + 0.026 * len(lines)
    lines = textwrap.wrap(statement(content, outcome), 80)
    figure.text(0.04, top, "\n".join(lines), fontsize=12, color=QUIET if warning else INK, va="top")
    note = (
        "Colours show what moved this model's score, on a coarse grid. They do not show where a disease is, nor that "
        f"the answer is right. Model {content.name} of {content.publisher.name}."
    )
    figure.text(0.04, 0.115, "\n".join(textwrap.wrap(note, 92)), fontsize=10.5, color=QUIET, va="top")
    figure.text(0.04, 0.022, "Research software, not a medical device.", fontsize=12, color=INK, fontweight="bold")


def _scale(panel: "Axes", outcome: Outcome, content: PackageContent) -> None:
    """Probability of the answer on a line from 0 to 1, with the operating point where there is one."""
    index = outcome.answer if len(content.labels) > 2 else 1
    value = (outcome.probabilities or ())[index]
    panel.barh(0, 1, color="#e3e7ec", height=1)
    panel.barh(0, value, color=MARK, height=1)
    if outcome.point is not None:
        panel.axvline(outcome.point, color=INK, linewidth=2)
        side = "right" if outcome.point > 0.5 else "left"
        reading = f"from here on: {textwrap.shorten(content.labels[1], 18, placeholder='…')}"
        panel.text(outcome.point, -0.8, reading, fontsize=10.5, color=INK, ha=side, va="top")
    panel.set_title(f"probability of {content.labels[index]}: {percent(value)}", fontsize=12, color=INK, loc="left")
    panel.set_xlim(0, 1)
    panel.set_ylim(-0.5, 0.5)
    panel.axis("off")
