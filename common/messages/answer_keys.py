"""What a question tells, array by array: the names under which a site remembers what it has answered.

Two questions may tell the same in part: a gradient at a point that was asked for its loss before, an evaluation with
and without distances, statistics with and without likeness. Asked over other sites, that part would tell single sites'
own. And a question that differs by next to nothing tells next to the same: under a preprocessing with one step more
that changes nothing, with another learning rate, at other frequencies. So a name holds the data set and the model, and
neither preprocessing nor settings. Left out are the numbers of cases, which every sum tells. Only `model` has them: by
it a site knows an evaluation that would tell just what was told before (`client.training.evaluating_site`).
"""

from collections.abc import Collection, Iterable
from typing import Any

from numpy.typing import NDArray

from common.messages.transport import Request
from common.privacy.price_list import is_noised
from common.trust.keys import digest
from common.types import Tensors, under

Array = NDArray[Any]


def answer_keys(request: Request, datasets: Collection[str]) -> tuple[bytes, ...]:
    """32 bytes for everything that an answer to the request tells; none of what is answered with noise.

    Args:
        datasets: names by which the data set goes: two that share images share a name.
    """
    if is_noised(request.kind):  # paid for, and never the same twice: the account of privacy has it
        return ()
    groups = list(_groups(request))
    return tuple(
        digest("answer", name.encode(), group.encode(), content) for name in datasets for group, content in groups
    )


def image_keys(datasets: Collection[str]) -> tuple[bytes, ...]:
    """The same of all that is asked of the images alone, whatever the model: it is summed once, then carried."""
    statistics = Request("statistics", 0, settings={"pixels": 1, "likeness": 1})
    requests = (statistics, Request("gram", 0), Request("classes", 0))
    return tuple(key for request in requests for key in answer_keys(request, datasets))


def _groups(request: Request) -> Iterable[tuple[str, bytes]]:
    kind, settings, tensors = request.kind, request.settings, request.tensors
    weights = under("weights", tensors)
    if kind == "statistics":
        return [(group, b"") for group in ("pixels", "likeness") if settings.get(group)]
    if kind == "gram":
        return [("gram", b"")]
    if kind == "classes":  # over the same sites after an import it would tell what the new case is
        return [("classes", b"")]
    if kind == "evaluate":
        looks = under("likeness", tensors)
        exactly = str(settings.get("recipe")).encode() + _arrays(under("recipe", tensors)) + _arrays(weights)
        counts = [("counts", _arrays(weights)), ("model", exactly)]
        return [*counts, ("distances", _arrays(looks))] if looks else counts
    alpha, intercept = weights.get("alpha"), weights.get("intercept")
    if kind in ("loss", "gradient", "hessian") and alpha is not None and intercept is not None:
        parts = {"loss": ("loss",), "gradient": ("loss", "gradient"), "hessian": ("loss", "gradient", "hessian")}[kind]
        if kind == "loss" and alpha.ndim == 3 and len(alpha) == len(intercept):
            points = [_point(alpha[i], intercept[i]) for i in range(len(alpha))]
        else:
            points = [_point(alpha, intercept)]
        return [(group, point) for group in parts for point in points]
    return [(kind, _arrays(weights))]


def _point(alpha: Array, intercept: Array) -> bytes:
    """The point where every descent begins that carries nothing is one, however many features there are."""
    return alpha.tobytes() + intercept.tobytes() if alpha.any() or intercept.any() else b"0"


def _arrays(tensors: Tensors) -> bytes:
    parts = [
        part
        for name, value in sorted(tensors.items())
        for part in (name.encode(), str(value.dtype).encode(), str(value.shape).encode(), value.tobytes())
    ]
    return digest("arrays", *parts)
