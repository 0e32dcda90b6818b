"""The way from a site to the coordinator: Flower's Fleet API over TLS, every request signed with the node's own key.

Flower signs a timestamp and refuses one that is more than five minutes off. A hospital's clock may be; so the time that
is signed is the coordinator's, taken from the Date of its answers: they come from the one server that the consortium's
certificate authority vouches for.
"""

import logging
import random
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.error import ApiErrorCode
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.connection.bounded_answers import bounded_client
from client.connection.proxy import proxy_for
from common.errors import ConfigError, LinkError
from common.trust.documents import foreign_json

log = logging.getLogger("consilium")

TIMEOUT_S = 20.0
RESOLUTION_S = 3.0
"""A Date is given in whole seconds, and has travelled."""
WORTH_SAYING_S = 30.0
LAST_S = 1e11
"""A time that no coordinator of ours sees, in seconds since 1970: what is later is none."""
NOBODY_WAITS = {
    ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED,
    ApiErrorCode.FLEET_GET_RUN_FAILED,
    ApiErrorCode.FLEET_GET_FAB_FAILED,
}

NOT_KNOWN = "it is not admitted yet, or was revoked. Ask the coordinator."

Q = TypeVar("Q")
A = TypeVar("A")


class NobodyWaitsError(Exception):
    """The run is over, or the message expired: an answer would reach nobody."""


class UnknownKeyError(Exception):
    """The coordinator does not take this site's key."""


@dataclass(frozen=True)
class Endpoint:
    """Where the coordinator is, and as whom to speak to it."""

    address: str
    """As `host:port`."""
    ca: Path
    """PEM file of the consortium's own authority; nothing else is trusted."""
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    """The node's key (ECDSA P-384), registered at the SuperLink."""
    proxy: str = field(default="", repr=False)
    """Of `site.yaml`; empty: that of the environment, if it names one."""

    @cached_property
    def public_key(self) -> bytes:
        """As PEM: the node's name at the SuperLink."""
        return public_key_to_bytes(self.key.public_key())


@dataclass
class Clock:
    """The coordinator's time, as far as it is known."""

    offset_s: float = 0.0
    """How far the coordinator's clock is ahead of this machine's."""

    def now(self) -> float:
        """The coordinator's time, in seconds since 1970."""
        return time.time() + self.offset_s

    def learn(self, date: str | None) -> bool:
        """Follow the Date of an answer; whether that changed anything."""
        try:
            coordinator_s = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, TypeError, OverflowError):
            return False
        if abs(coordinator_s - self.now()) <= RESOLUTION_S or not 0 < coordinator_s < LAST_S:
            return False
        # A Date has lost its fraction of a second. Any will do, but not the same for two that learn in one second: what
        # they sign would be the same, and taken for a replay.
        self.offset_s = coordinator_s + random.random() - time.time()
        return True

    def complaint(self) -> str:
        """What to say of this machine's clock; nothing where it is right."""
        if abs(self.offset_s) < WORTH_SAYING_S:
            return ""
        return f"this machine's clock is {abs(self.offset_s) / 60:.1f} min {'behind' if self.offset_s > 0 else 'fast'}"


@dataclass(frozen=True)
class _Signing:
    """Flower's NodeAuthHttpInterceptor, with the coordinator's time instead of the local one."""

    endpoint: Endpoint
    clock: Clock

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        response = call_next(self._sign(context))
        if self.clock.learn(response.headers.get("date")) and response.status_code == httpx.codes.UNAUTHORIZED:
            response = call_next(self._sign(context))
        return response

    def _sign(self, context: ProtobufRequestContext) -> ProtobufRequestContext:
        context.request.headers.update(signature_headers(self.endpoint, self.clock))
        return context


def signature_headers(endpoint: Endpoint, clock: Clock) -> dict[str, str]:
    """Flower's headers of a node's request, for this moment of the coordinator's time."""
    timestamp = datetime.fromtimestamp(clock.now(), UTC).isoformat()
    signature = sign_message(endpoint.key, timestamp.encode("ascii"))
    return {
        FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(endpoint.public_key).decode("ascii"),
        TIMESTAMP_HEADER: timestamp,
        FLEET_HTTP_SIGNATURE_HEADER: b64encode(signature).decode("ascii"),
    }


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """TLS that trusts the consortium's own authority and nobody else.

    Raises:
        ConfigError: if the authority's certificate cannot be read.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody yet
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_verify_locations(cafile=endpoint.ca)
    except (OSError, ssl.SSLError) as error:
        what = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "not a certificate in PEM"
        raise ConfigError(
            f"{endpoint.ca}: {what}. Expected the consortium's certificate, from the welcome file."
        ) from None
    return tls


def fleet(endpoint: Endpoint, clock: Clock) -> FleetHttpClient:
    """One client for all requests; it keeps its connections open.

    Raises:
        ConfigError: if the authority's certificate cannot be read.
    """
    client = FleetHttpClient(
        f"https://{endpoint.address}",
        interceptors=[_Signing(endpoint, clock)],
        verify=tls_context(endpoint),
        timeout=TIMEOUT_S,
    )
    # It follows redirects, so that a coordinator could send requests into the hospital's own network.
    client._client.close()
    client._client = bounded_client(verify=tls_context(endpoint), timeout=TIMEOUT_S, proxy=endpoint.proxy or None)
    return client


def ask(endpoint: Endpoint, call: Callable[[Q], A], request: Q) -> A:
    """One request, tried once.

    Raises:
        NobodyWaitsError, UnknownKeyError: as they say.
        LinkError: for all that may be better soon; says what it was and what to do.
    """
    try:
        return call(request)
    except httpx.HTTPStatusError as error:
        code, reason = error_of(error.response)
        if code in NOBODY_WAITS:
            raise NobodyWaitsError("its run is not going on any more") from None
        status = error.response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise UnknownKeyError(reason if isinstance(code, str) else NOT_KNOWN) from None
        if code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
            raise UnknownKeyError(f"{NOT_KNOWN} Or it still counts as connected, for a minute.") from None
        raise LinkError(f"{endpoint.address} answers {status} ({reason}). It may be restarting.") from None
    except httpx.RequestError as error:
        raise LinkError(f"{endpoint.address} {unreachable(error, endpoint.proxy)}") from None
    except ValueError:
        raise LinkError(f"{endpoint.address} does not answer as a coordinator of this release does.") from None


def error_of(response: httpx.Response) -> tuple[int | str, str]:
    """Code and reason of an answer that is an error: Flower's, a number, or our gateway's, a word. 0: neither."""
    try:
        body = foreign_json(response.content)
        code, reason = body.get("code", body.get("error")), str(body.get("detail"))[:300]
    except (ValueError, AttributeError):
        code, reason = 0, "no reason given"
    return code if isinstance(code, int | str) else 0, reason if reason.isprintable() else "no reason given"


def unreachable(error: httpx.RequestError, own_proxy: str = "") -> str:
    """Why the coordinator was not reached, and what to do, after its address.

    Args:
        own_proxy: that of `site.yaml`.
    """
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.split("CERTIFICATE_VERIFY_FAILED] ")[-1].split(" (_ssl")[0]
        return (
            f"has not the certificate that is expected ({why}); nothing was sent. Is the address right, and this "
            "machine's date? Does something on the way open encrypted connections? Else ask the coordinator."
        )
    try:
        proxy = proxy_for(error.request.url.host, own_proxy)
    except RuntimeError:  # an error that no request belongs to
        proxy = ""
    check = "Check the network, the firewall and the address."
    if proxy:
        origin = (
            "site.yaml names: check it." if own_proxy else "HTTPS_PROXY or ALL_PROXY names: check it, or set NO_PROXY."
        )
        check = f"The way goes through the proxy {proxy}, which {origin}"
    if isinstance(error, httpx.TimeoutException):
        return f"does not answer in time. {check}"
    return f"cannot be reached ({text or type(error).__name__}). {check}"
