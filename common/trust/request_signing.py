"""How a site shows the gateway who it is: each request signed with its Ed25519 identity, and taken once.

The signature covers method, path, time and body: nothing of a request can be changed, and nothing put in its place. The
window for the time is Flower's own, since both kinds of requests are signed by the same clocks.
"""

import time
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import IdentityError, LinkError
from common.trust.keys import digest, sign, verify

SITE, TIME, SIGNATURE = "consilium-site", "consilium-time-ns", "consilium-signature"
AHEAD_S, BEHIND_S = 5.0, 305.0
"""How far the signing clock may be ahead of the receiver's, or behind it (with the time of travel)."""


class ReplayGuard:
    """Remembers which requests were taken within the window, so that none is taken twice.

    One for all that one process receives; not for several threads.

    A process that starts does not know what the one before it took: what was signed before it started is refused, in a
    way that lets an honest sender sign again.
    """

    def __init__(self) -> None:
        self._started_s = self._turned_s = time.time()
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def refuse_out_of_time(self, signed_s: float, now_s: float) -> None:
        """Refuse what was not signed just now.

        Raises:
            IdentityError: `clock`, saying how far the clocks are apart.
            LinkError: what was signed before this process started.
        """
        if not -AHEAD_S < now_s - signed_s < BEHIND_S:
            when = "ago" if now_s > signed_s else "ahead of time"
            raise IdentityError(
                "clock",
                f"the request was signed {abs(now_s - signed_s) / 60:.1f} min {when}, by the coordinator's clock. "
                "Set this machine's clock.",
            )
        if signed_s < self._started_s:
            raise LinkError("the coordinator's gateway has just started. Sign the request again, and send it again.")

    def refuse_replayed(self, what: bytes, now_s: float) -> None:
        """Refuse a request that was taken before, and remember this one.

        Raises:
            IdentityError: `replayed`.
        """
        if now_s - self._turned_s > AHEAD_S + BEHIND_S:
            self._old, self._young, self._turned_s = self._young, set(), now_s
        if what in self._young or what in self._old:
            raise IdentityError("replayed", "this very request was taken before. Sign each one again.")
        self._young.add(what)


def signed_headers(
    site: str, identity: Ed25519PrivateKey, method: str, path: str, body: bytes, now_s: float
) -> dict[str, str]:
    """The headers that go with one request."""
    at_ns = str(int(now_s * 1e9))
    return {SITE: site, TIME: at_ns, SIGNATURE: sign(identity, _statement(site, method, path, at_ns, body)).hex()}


def verify_request(
    headers: Mapping[str, str], method: str, path: str, body: bytes, identities: Mapping[str, bytes], guard: ReplayGuard
) -> str:
    """The site that sent a request.

    Args:
        identities: Ed25519 public keys of those who may, by name.

    Raises:
        IdentityError: no credentials, no member's, another's, out of time, or taken before.
        LinkError: signed before this process started.
    """
    site, at_ns, now_s = headers.get(SITE, ""), headers.get(TIME, ""), time.time()
    try:
        if not (at_ns.isascii() and at_ns.isdigit() and len(at_ns) < 20):
            raise ValueError
        signature, signed_s = bytes.fromhex(headers[SIGNATURE]), int(at_ns) / 1e9
    except (KeyError, ValueError):
        raise IdentityError("no-credentials", "the request is not signed as this release does it.") from None
    guard.refuse_out_of_time(signed_s, now_s)
    statement = _statement(site, method, path, at_ns, body)
    try:
        verify(identities.get(site, b""), signature, statement, who=site, what="request")
    except IdentityError:
        raise not_a_member() from None
    guard.refuse_replayed(statement, now_s)
    return site


def not_a_member() -> IdentityError:
    """One answer for a stranger and for a wrong key: who is a member is not for strangers to find out."""
    return IdentityError(
        "not-a-member",
        "the coordinator does not know this site with this key: not admitted yet, suspended, or moved to new keys. "
        "Ask the coordinator.",
    )


def _statement(site: str, method: str, path: str, at_ns: str, body: bytes) -> bytes:
    return digest("board", site.encode(), method.encode(), path.encode(), at_ns.encode(), digest("body", body))
