"""What sites may be asked under secure aggregation, and as which numbers they answer: worked out alike on both sides.

A site derives these layouts from its own configuration and refuses a plan that has others. Each array's fraction bits
are the most that its bound leaves: sums over all sites, each at its bound, must stay below half the words' range.

    train       32-bit words, so that an upload is as large as the model in float32; 64 where Adam's moments, which
                may be very small, are averaged along
    all others  64-bit words: they are short, or sums in which small differences matter
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from common.config import Federation, Svm, Training
from common.imaging import Pipeline
from common.messages import wire
from common.messages.fraction_bits import fraction_bits, room
from common.messages.noised_layout import noised_kinds, schedule_for
from common.messages.transport import Request
from common.metrics import out_of_distribution
from common.metrics.performance import count_shapes
from common.models import Model
from common.models.private_layers import private_names
from common.models.svm import LinearSvm
from common.privacy.price_list import is_noised
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period_plan import QuestionKind
from common.trust.keys import digest
from common.types import Tensors

TRIALS = 4
"""Points at which the SVM's solver asks for the loss before it asks for one gradient."""

GRADIENT, SQUARED_GRADIENT, CONTROL = 2.0**6, 2.0**12, 2.0**10
"""Bounds of one coordinate: Adam's moments, and a change of SCAFFOLD's control variate."""
LOSS = 2.0**10
"""Bound of one case's loss."""
INTENSITY = 2.0**16
"""Bound of a pixel, as a reader gives it and after preprocessing."""
HINGE = 2.0**12
"""Bound of 1 - s f(x) at a point that the SVM's solver tries."""

Arrays = dict[str, tuple[tuple[int, ...], float]]
"""By name, shape and bound."""


def question(request: Request) -> bytes:
    """The hash of what is asked, which every site computes of what it was really asked."""
    return digest("request", content(request))


def content(request: Request) -> bytes:
    """What is asked, as bytes.

    Only training, and what is answered with noise, depends on the round's number. Everything else is the same question
    in whatever round it is asked, so that a site notices when it is to answer it again, and with whom.
    """
    is_of_its_round = request.kind == "train" or is_noised(request.kind)
    return wire.encode_request(request if is_of_its_round else replace(request, round=0))


def rounding_key(question: bytes, site: str) -> bytes:
    """What a site's stochastic rounding is drawn from: the same for the same question, so that the same seed gives the
    same bits. It need not be secret, since the masks hide what is rounded; asking twice averages nothing out."""
    return digest("rounding", question, site.encode())


def completed(answer: Tensors, layout: Layout) -> Tensors:
    """An answer with zeros for distances that were not asked: they are, once in a run, beside an evaluation."""
    unasked = {s.name: np.zeros(s.shape) for s in layout.segments if s.name == "distances"}
    return {**unasked, **answer}


def exchanges(
    config: Training, model: Model, shape: Sequence[int], classes: int, sites: int, plan_sites: int = 0
) -> dict[str, QuestionKind]:  # fmt: skip
    """All exchanges of a run, by the kind of request.

    Args:
        shape: of an image, (h, w, c).
        sites: in the cohort; fewer leave room for more fraction bits.
        plan_sites: of the plan, which decides on noise; 0: as many as in the cohort.
    """
    most = config.federation.weight_bound
    if config.budget:
        return noised_kinds(model, schedule_for(config, model, plan_sites or sites), config.federation, sites)
    looks: Arrays = {"n": ((1,), most)}
    if Pipeline(config.preprocess).needs_statistics:
        looks |= {"x": (tuple(shape), INTENSITY * most), "xx": (tuple(shape), INTENSITY**2 * most)}
    if config.likeness:
        looks |= {f"likeness/{name}": (array.shape, most) for name, array in out_of_distribution.of_nobody().items()}
    outcomes = evaluation(most, classes, sites, config.likeness, multilabel=model.multilabel)
    kinds = {"statistics": QuestionKind(_wide(looks, sites))} | outcomes
    if isinstance(model, LinearSvm) and isinstance(config.model, Svm):
        return kinds | _of_the_svm(config.model, model, most, sites)
    return kinds | {"train": QuestionKind(_training(config.federation, model, sites))}


def evaluation(
    most: float, classes: int, sites: int, looks: bool = False, *, multilabel: bool = False
) -> dict[str, QuestionKind]:
    """The one exchange of an evaluation: outcomes as counts.

    Args:
        most: cases that a site may have.
        looks: count as well how far the images are from the training's.
    """
    bounds = {"n": most, "correct": most, "loss_sum": LOSS * most, "confusion": most, "histogram": most}
    bounds["within"] = 1.0
    counts: Arrays = {name: (shape, bounds[name]) for name, shape in count_shapes(classes, multilabel).items()}
    if looks:
        counts["distances"] = ((out_of_distribution.BINS,), most)
    return {"evaluate": QuestionKind(_wide(counts, sites))}


def _training(plan: Federation, model: Model, sites: int) -> Layout:
    """Differences of the weights, times the number of examples, with what is summed beside them."""
    most, weights = plan.weight_bound, model.init(0)
    stays = private_names(weights, plan.local.private)
    shapes = {name: w.shape for name, w in weights.items() if name not in stays}
    bits: Literal[32, 64] = 64 if plan.local.moments == "averaged" else 32
    cases = most * max(1.0, math.ceil(plan.local.epochs or 1.0))
    if plan.local.steps:
        cases = max(most, float(plan.local.steps * plan.local.batch))
    # A training loss is shown, not used: where many sites leave it no room, its bound gives way.
    loss = min(LOSS * cases, room(bits, sites))
    beside: Arrays = {"weight": ((1,), most), "examples": ((1,), cases), "correct": ((1,), cases)}
    beside["loss_sum"] = ((1,), loss)
    if plan.local.moments == "averaged" and plan.local.optimizer == "adam":
        beside |= {f"moments/first/{name}": (shape, GRADIENT * most) for name, shape in shapes.items()}
        beside |= {f"moments/second/{name}": (shape, SQUARED_GRADIENT * most) for name, shape in shapes.items()}
        beside["moments/steps"] = ((1,), cases * plan.rounds * most)
    if plan.strategy == "scaffold":
        beside |= {f"control/{name}": (shape, CONTROL) for name, shape in shapes.items()}
    fraction = fraction_bits(plan.clip * most, bits, sites)
    moved = [Segment(f"delta/{name}", shape, plan.clip, fraction, weighted=True) for name, shape in shapes.items()]
    return Layout((*moved, *_segments(beside, bits, sites)), bits, most)


def _of_the_svm(config: Svm, model: LinearSvm, most: float, sites: int) -> dict[str, QuestionKind]:
    """Sums over everybody or nobody: over some of the sites they are those of another function."""
    d, rows = model.features.dimension + 1, model.rows
    largest = 1.0 if config.features == "fourier" else INTENSITY
    triangle, second = d * (d + 1) // 2, most * largest**2
    arrays_by_kind: dict[str, Arrays] = (
        {"classes": {"classes": ((model.classes,), most)}} if config.class_weight else {}
    )
    if model.moments:
        # A frequency is as large as the image is long; images as bright as can be in every pixel are left out of it.
        r, longest = model.moments.size, second * math.sqrt(d)
        arrays_by_kind["gram"] = {"gram": ((r * (r + 1) // 2,), longest), "rest": ((1,), longest)}
    arrays_by_kind["loss"] = {"loss": ((TRIALS, model.problems), most * HINGE**2)}
    slope: Arrays = {"loss": ((model.problems,), most * HINGE**2), "gradient": ((rows, d), 2 * most * HINGE * largest)}
    if config.solver == "newton":
        arrays_by_kind["hessian"] = slope | {"hessian": ((rows, triangle), 2 * second)}
    else:
        arrays_by_kind["gradient"] = slope
    return {name: QuestionKind(_wide(a | {"n": ((1,), most)}, sites), whole=True) for name, a in arrays_by_kind.items()}


def _wide(arrays: Arrays, sites: int) -> Layout:
    return Layout(_segments(arrays, 64, sites), 64)


def _segments(arrays: Arrays, bits: Literal[32, 64], sites: int) -> tuple[Segment, ...]:
    return tuple(
        Segment(name, shape, bound, fraction_bits(bound, bits, sites)) for name, (shape, bound) in arrays.items()
    )


# --- the questions of a site that audits ------------------------------------------------------------------------------
#
# `secagg/follow` and every piece of `secagg/audit` are answered with a number: the question whose transcript the site
# awaits next (`common.algorithms.course.number`), or that it audits none. The transcript of the question before, where
# it fits into one piece, goes with `secagg/submit`: its bytes and its number under one name.

PIECE_BYTES = 2**24
"""Of a transcript, in one message."""
PAGE = "page"
AWAITS_NOTHING = -1
"""The site does not audit."""


def encode_number(number: int) -> bytes:
    """A question's number as a message."""
    return number.to_bytes(8, "little", signed=True)


def decode_number(message: bytes | memoryview) -> int:
    """A question's number from a message; anything else is as if the site did not audit."""
    return int.from_bytes(message, "little", signed=True) if len(message) == 8 else AWAITS_NOTHING
