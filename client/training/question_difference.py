"""In what a question differs from the one that follows from the signed plan, for people."""

from common.messages.transport import Request


def difference(own_request: Request, request: Request) -> str:
    """The first thing in which two requests differ, for people."""
    if (own_request.kind, own_request.round) != (request.kind, request.round):
        return f"expected '{own_request.kind}' of round {own_request.round}"
    if dict(own_request.settings) != dict(request.settings):
        names = sorted({*own_request.settings, *request.settings})
        odd = next(name for name in names if own_request.settings.get(name) != request.settings.get(name))
        asked_value, own_value = request.settings.get(odd), own_request.settings.get(odd)
        return f"{odd} is {asked_value}, and {own_value} by this site's own configuration"
    for name in sorted({*own_request.tensors, *request.tensors}):
        one, other = own_request.tensors.get(name), request.tensors.get(name)
        if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
            return f"'{name}' is missing, or of another shape"
        if one.tobytes() != other.tobytes():
            return f"{int((one != other).sum())} of {one.size} numbers in '{name}' are others"
    return "its bytes are others"
