"""What a question tells, array by array: the names under which a site remembers what it has answered.

Two questions may tell the same in part: a gradient at a point that was asked for its loss before, an evaluation with
and without distances, statistics with and without likeness. Asked over other sites, that part would tell single sites'
own. Left out are the numbers of cases, which every sum tells.
"""

from collections.abc import Iterable, Mapping

from common.messages import wire
from common.messages.transport import Request
from common.trust.keys import digest
from common.types import Tensors, under


def answer_keys(request: Request, dataset: str, features: str) -> tuple[bytes, ...]:
    """32 bytes for everything that an answer to the request tells.

    Args:
        dataset: name of the data set.
        features: what the SVM makes of an image, in any words.
    """
    recipe = _arrays(under("recipe", request.tensors))
    images = digest("images", dataset.encode(), str(request.settings.get("recipe", "")).encode(), recipe)
    if request.kind not in ("statistics", "evaluate"):
        images = digest("features", images, features.encode())
    return tuple(digest("answer", group.encode(), images, content) for group, content in _groups(request))


def _groups(request: Request) -> Iterable[tuple[str, bytes]]:
    kind, settings, tensors = request.kind, request.settings, request.tensors
    if kind == "statistics":
        return [(group, b"") for group in ("pixels", "likeness") if settings.get(group)]
    if kind == "evaluate":
        looks = under("likeness", tensors)
        counts = ("counts", _arrays(under("weights", tensors)))
        return [counts, ("distances", _arrays(looks))] if looks else [counts]
    if kind in ("loss", "gradient", "hessian"):
        alpha, intercept = tensors.get("weights/alpha"), tensors.get("weights/intercept")
        if alpha is not None and intercept is not None and len(alpha) == len(intercept):
            groups = [group for group in ("loss", "gradient", "hessian") if group in (kind, "loss")]
            if kind == "hessian":
                groups.append("gradient")
            points = [alpha[i].tobytes() + intercept[i].tobytes() for i in range(len(alpha))]
            return [(group, point) for group in groups for point in points]
    if kind == "gram":
        return [("gram", _settings(settings))]
    return [(kind, wire.encode_request(request))]


def _arrays(tensors: Tensors) -> bytes:
    parts = [
        part
        for name, value in sorted(tensors.items())
        for part in (name.encode(), str(value.dtype).encode(), str(value.shape).encode(), value.tobytes())
    ]
    return digest("arrays", *parts)


def _settings(settings: Mapping[str, float | int | str]) -> bytes:
    return repr(sorted((name, value) for name, value in settings.items() if name != "recipe")).encode()
