"""Who somebody is, by the word of the hospital's identity provider: OpenID Connect, authorization code flow with PKCE.

OpenID Connect Core 1.0, sections 3.1 and 3.1.3.7; OpenID Connect Discovery 1.0; RFC 7636 (PKCE). What it says
is a name. It opens no key: a person's passphrase does (`client.page.hosted`).
"""

import base64
import hashlib
import hmac
import secrets
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from common.errors import AccessError, LinkError

TIMEOUT_S = 20.0
PATIENCE_S = 600.0
"""How long somebody may take to log in at the provider."""
MOST_PENDING = 1000
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
CLOCK_S = 120


@dataclass(frozen=True)
class Attempt:
    """A login that somebody has begun."""

    nonce: str
    verifier: str
    until_s: float


@dataclass
class IdentityProvider:
    """The hospital's identity provider, for one page. Threads may share it.

    Args:
        issuer: its address, as it names itself.
        client: under which name the page is registered with it.
        secret: of that registration; empty for a public client.
        redirect: where it sends people back to.
        trust: whose certificates are believed.
    """

    issuer: str
    client: str
    secret: str = field(repr=False)
    redirect: str
    trust: ssl.SSLContext
    _attempts: dict[str, Attempt] = field(default_factory=dict, repr=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self) -> tuple[str, str]:
        """Where to send somebody who wants to log in, and the state that comes back with them.

        Raises:
            LinkError: the provider is not there, or is another.
        """
        about, now = self._about(), time.monotonic()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with self._alone:
            going_on = {name: attempt for name, attempt in self._attempts.items() if attempt.until_s > now}
            self._attempts = dict([*going_on.items()][-MOST_PENDING:])
            self._attempts[state] = Attempt(nonce, verifier, now + PATIENCE_S)
        query = {
            "response_type": "code", "client_id": self.client, "redirect_uri": self.redirect, "scope": "openid",
            "state": state, "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        return f"{about['authorization_endpoint']}?{urlencode(query)}", state

    def subject(self, state: str, own_state: str, code: str) -> str:
        """Who has come back, as the provider names them (`sub`).

        Args:
            own_state: what the browser kept: another page's link would bring another's login.

        Raises:
            AccessError: not begun in this browser, too late, or what the provider says does not hold.
            LinkError: the provider is not there.
        """
        with self._alone:
            attempt = self._attempts.pop(state, None)
        if attempt is None or attempt.until_s < time.monotonic() or not hmac.compare_digest(state, own_state):
            raise AccessError("this login was not begun here, or it took too long. Begin it again.")
        about = self._about()
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect,
                  "client_id": self.client, "code_verifier": attempt.verifier}  # fmt: skip
        answer = self._ask(about["token_endpoint"], fields | ({"client_secret": self.secret} if self.secret else {}))
        keys = self._ask(about["jwks_uri"])
        try:
            token = jwt.decode(str(answer["id_token"]), KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
            jwt.JWTClaimsRegistry(
                leeway=CLOCK_S, iss={"essential": True, "value": self.issuer}, exp={"essential": True},
                aud={"essential": True, "value": self.client}, sub={"essential": True},
                nonce={"essential": True, "value": attempt.nonce},
            ).validate(token.claims)  # fmt: skip
            if token.claims.get("azp", self.client) != self.client:
                raise AccessError("it was made out for another page.")
            return str(token.claims["sub"])
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise AccessError(f"what {self.issuer} says of who you are does not hold: {error}") from None

    def _about(self) -> dict[str, Any]:
        about = self._ask(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if about.get("issuer") != self.issuer:
            raise LinkError(f"{self.issuer}: names itself {about.get('issuer')!r}. Expected the same in `issuer`.")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            address = str(about.get(name))
            if not address.startswith("https://") and not self.issuer.startswith("http://"):
                raise LinkError(f"{self.issuer}: {name} is {address}, expected an address of https.")
        return about

    def _ask(self, address: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            with httpx.Client(timeout=TIMEOUT_S, verify=self.trust) as client:
                answer = client.post(address, data=fields) if fields else client.get(address)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise LinkError(f"{self.issuer}: no answer of an identity provider ({error}).") from None
        if not answer.is_success or not isinstance(content, dict):
            why = content.get("error", "") if isinstance(content, dict) else ""
            raise LinkError(f"{self.issuer}: answered {answer.status_code} {why}".rstrip() + ".")
        return content
