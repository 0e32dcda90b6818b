"""The fields of a small form: what is long, slow or no form is refused before it is held in memory."""

import asyncio
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from common.errors import ConfigError

FORM_BYTES, FORM_S = 4096, 10.0


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name.

    Raises:
        ConfigError: too long, too slow, or no form.
    """
    try:
        fields = parse_qs((await _small(request)).decode(), max_num_fields=4, encoding="utf-8", errors="strict")
    except ValueError:
        raise ConfigError("expected a form of a few fields.") from None
    return {name: values[0] for name, values in fields.items()}


async def _small(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise ConfigError("expected a form, and this is none.")
    body = b""
    try:
        async with asyncio.timeout(FORM_S):
            async for piece in request.stream():
                body += piece
                if len(body) > FORM_BYTES:
                    raise ConfigError(f"a form of more than {FORM_BYTES} bytes.")
    except TimeoutError:
        raise ConfigError(f"a form that did not come within {FORM_S:g} s.") from None
    except ClientDisconnect:
        pass
    return body
