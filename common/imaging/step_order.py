"""The steps of a configuration as a whole: which there are, and in which order they mean something."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from common.imaging.embedding import Embed
from common.imaging.plugin_step import PluginStep
from common.imaging.steps import (
    Clahe,
    Clusters,
    Crop,
    Edges,
    Gaussian,
    Grey,
    Mean,
    Normalise,
    Resize,
    Window,
)

AnyStep = Annotated[
    Window | Resize | Crop | Grey | Mean | Gaussian | Edges | Clusters | Clahe | Embed | PluginStep | Normalise,
    Field(discriminator="step"),
]


def in_order(steps: Sequence[AnyStep]) -> tuple[AnyStep, ...]:
    """The steps, with a window first.

    Raises:
        ValueError: where their order cannot mean anything.
    """
    steps = tuple(steps) if steps and isinstance(steps[0], Window) else (Window(step="window"), *steps)
    rest = steps[1:]
    if any(isinstance(step, Window) for step in rest):
        raise ValueError("window comes first and once: the steps after it see 0..1")
    normalised = [i for i, step in enumerate(rest) if isinstance(step, Normalise)]
    if sum(isinstance(step, Normalise) and step.by == "federated" for step in rest) > 1:
        raise ValueError("normalise by: federated may come once")
    together = [i for i, step in enumerate(rest) if isinstance(step, Normalise) and step.by == "federated"]
    if together and any(isinstance(step, Resize | Crop | Grey) for step in rest[together[0] :]):
        raise ValueError("resize, crop and grey change the images that the federated mean is of: put them before it")
    if normalised and any(isinstance(step, Edges | Clusters | Clahe) for step in rest[normalised[0] :]):
        raise ValueError("edges, clusters and clahe see intensities of 0..1: put normalise after them")
    added = [i for i, step in enumerate(rest) if isinstance(step, Edges | Clusters) and step.output == "channel"]
    if added and any(isinstance(step, Grey) for step in rest[added[0] :]):
        raise ValueError("grey would mix the channels that edges and clusters add: put it before them")
    embeds = [i for i, step in enumerate(rest) if isinstance(step, Embed)]
    if embeds and any(not isinstance(step, Normalise) for step in rest[embeds[0] + 1 :]):
        raise ValueError("embed turns an image into numbers without a place: only normalise may come after it")
    if embeds and normalised and normalised[0] < embeds[0]:
        raise ValueError("embed sees intensities of 0..1: put normalise after it")
    if len(added) > 1 and any(isinstance(step, Edges | Clusters | Clahe) for step in rest[added[1] + 1 :]):
        raise ValueError("a grey image with two added channels would be taken for RGB: add at most two, and last")
    return steps


Steps = Annotated[tuple[AnyStep, ...], AfterValidator(in_order)]
"""What `preprocess` may hold."""
