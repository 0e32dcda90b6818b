"""What a site asks the coordinator beside Flower: plans, decisions, log, catalogue. Signed by it, over TLS."""

import json
import ssl
from pathlib import Path
from typing import Any, Self

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.connection.bounded_answers import bounded_client
from client.connection.fleet_client import Clock, unreachable
from common.errors import ConfigError, IdentityError, LinkError, WireError
from common.trust.documents import foreign_json
from common.trust.request_signing import signed_headers

Json = dict[str, Any]

PREFIX = "/v1/consilium/"
TIMEOUT_S = 10.0
MOST_LEVELS = 24
"""Of what an answer holds: papers, which are nested themselves."""


class GatewayClient:
    """One site's connection to the gateway, to be used in a `with` block.

    Args:
        address: host:port of the gateway.
        authority: PEM file of the consortium's own TLS authority, the only one that is trusted.
        identity: what the site signs with.
        proxy: that of `site.yaml`; empty: that of the environment.

    Raises:
        ConfigError: if the authority's certificate cannot be read.
        LinkError: every question, if the coordinator cannot be reached, is just starting, or does not take it.
        IdentityError: every question, if the coordinator does not take this site's signature, and why.
        WireError: an answer that is not of this release.
    """

    def __init__(self, address: str, authority: Path, site: str, identity: Ed25519PrivateKey, proxy: str = "") -> None:
        self._address, self._site, self._identity, self._clock = address, site, identity, Clock()
        self._proxy = proxy
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody yet
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            tls.load_verify_locations(cafile=authority)
            self._client = bounded_client(
                base_url=f"https://{address}", verify=tls, timeout=TIMEOUT_S, proxy=proxy or None
            )
        except OSError as error:
            what = "not a certificate, PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{authority}: {what}. It is pinned by `python -m client join WELCOME`.") from None
        except httpx.InvalidURL:
            raise ConfigError(f"address: {address!r}, expected host:port. Join again with the welcome file.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def clock_offset_s(self) -> float:
        """How far the coordinator's clock is ahead of this machine's, by its last answer; small differences are 0."""
        return self._clock.offset_s

    def board(self) -> Json:
        """Roster and plans for this site."""
        return self._ask("GET", "board", b"")

    def decision(self, content: Json) -> Json:
        """Hand in a signed decision on a plan."""
        return self._ask("POST", "decision", json.dumps(content).encode())

    def doing(self, content: Json) -> Json:
        """Say what this site is doing."""
        return self._ask("POST", "doing", json.dumps(content).encode())

    def history(self, content: Json) -> Json:
        """The newest head of the coordinator's log, and proof that it extends the one this site saw last."""
        return self._ask("POST", "history", json.dumps(content).encode())

    def catalogue(self) -> Json:
        """What all partners offer, signed; and the versions that this site's next entries must have."""
        return self._ask("POST", "catalogue", b"{}")

    def offer(self, content: Json) -> Json:
        """Hand in a signed entry."""
        return self._ask("POST", "offer", json.dumps(content).encode())

    def deposit(self, content: Json) -> Json:
        """Send a piece of a package that will be offered."""
        return self._ask("POST", "deposit", json.dumps(content).encode())

    def package(self, content: Json) -> Json:
        """Fetch a piece of a package that is offered."""
        return self._ask("POST", "package", json.dumps(content).encode())

    def _ask(self, method: str, name: str, body: bytes) -> Json:
        answer = self._send(method, PREFIX + name, body)
        if self._clock.learn(answer.headers.get("date")) and answer.status_code == httpx.codes.UNAUTHORIZED:
            answer = self._send(method, PREFIX + name, body)
            self._clock.learn(answer.headers.get("date"))
        try:
            content = foreign_json(answer.content, MOST_LEVELS)
            if not isinstance(content, dict):
                raise ValueError
        except ValueError:
            raise WireError(
                f"{self._address} answers {answer.status_code}, but not as a coordinator of this release. Is the "
                "address right?"
            ) from None
        if answer.is_success:
            return content
        cause, why = (" ".join(str(content.get(key, "?"))[:400].split()) for key in ("error", "detail"))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            clock = self._clock.complaint()
            raise IdentityError(cause, f"{self._address}: {why}" + (f" By its clock, {clock}." if clock else ""))
        raise LinkError(f"{self._address} does not take it ({answer.status_code} {cause}): {why}")

    def _send(self, method: str, path: str, body: bytes) -> httpx.Response:
        headers = signed_headers(self._site, self._identity, method, path, body, self._clock.now())
        try:
            return self._client.request(method, path, content=body, headers=headers)
        except httpx.RequestError as error:
            raise LinkError(f"{self._address} {unreachable(error, self._proxy)}") from None
