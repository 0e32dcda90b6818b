"""Who may pass the gateway: members' nodes by Flower's signed headers, members by their identity. Who was heard when.

Of a request to Flower the signature covers the time alone, not the body, as Flower 1.42 has it: what is signed is who
speaks, and when. TLS keeps the body; the replay cache sees to it that one signature lets one request through.
"""

import binascii
import logging
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.datastructures import Headers

from common.errors import ConsiliumError, IdentityError, LinkError, RunError
from common.storage.files import read_json, write_json
from common.trust.request_signing import ReplayGuard, not_a_member, verify_request

log = logging.getLogger("consilium")

PUBLIC_KEY, TIMESTAMP, SIGNATURE = "flwr-public-key", "flwr-timestamp", "flwr-signature"
"""Flower's headers; tests/gateway/test_gateway.py compares them with the installed Flower's."""
BREAK_S = 45.0
"""A silence of so long is a break in a site's connection."""


class Membership(Protocol):
    """Who belongs to the consortium at the moment."""

    def identities(self) -> Mapping[str, bytes]:
        """Ed25519 public keys of the active members, by name."""

    def nodes(self) -> Mapping[bytes, str]:
        """Active members by their node's public key, PEM, as Flower's header has it."""


class _Members(NamedTuple):
    identities: Mapping[str, bytes]
    nodes: Mapping[bytes, tuple[str, ec.EllipticCurvePublicKey]]


class Doorkeeper:
    """Knows the members, and what was taken already. For one event loop.

    Args:
        membership: asked again when one of the watched files or folders has changed.
        heard: a file that says of each site when it was heard last, since when without a break, and when it lost its
            last connection, if it has none.
    """

    def __init__(self, membership: Membership, watched: Sequence[Path], heard: Path) -> None:
        self._membership, self._watched, self._heard_file = membership, tuple(watched), heard
        self._members, self._stamp = _Members({}, {}), ""
        self._seen = ReplayGuard()
        self._heard, self._noted = _known(heard), True
        self._lines: Counter[str] = Counter()

    def node(self, headers: Headers) -> str:
        """The site whose node signed a request to Flower.

        Raises:
            IdentityError: no member's, not signed as Flower does, out of time, or taken before.
            LinkError: signed before this process started, or the membership cannot be read.
        """
        try:
            (key,), (at,), (signature,) = (headers.getlist(name) for name in (PUBLIC_KEY, TIMESTAMP, SIGNATURE))
            public, signed = b64decode(key, validate=True), b64decode(signature, validate=True)
            when, said = datetime.fromisoformat(at), at.encode("ascii")
            if when.tzinfo is None:
                raise ValueError
        except (ValueError, binascii.Error):
            raise IdentityError("no-credentials", "the request is not signed as Flower's nodes do it.") from None
        self._seen.refuse_out_of_time(when.timestamp(), now_s := time.time())
        site, known = self._current().nodes.get(public, ("", None))
        try:
            if known is None:
                raise InvalidSignature
            known.verify(signed, said, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise not_a_member() from None
        self._seen.refuse_replayed(b"node\0" + public + said, now_s)
        self._hear(site, now_s)
        return site

    def site(self, headers: Mapping[str, str], method: str, path: str, body: bytes) -> str:
        """The site that signed a request to the board; raises as `node` does."""
        site = verify_request(headers, method, path, body, self._current().identities, self._seen)
        self._hear(site, time.time())
        return site

    def note(self) -> None:
        """Write down who was heard when, if that is news."""
        if self._noted:
            return
        try:
            write_json(self._heard_file, self._heard, durably=False)
            self._noted = True
        except OSError as error:
            log.warning("%s: %s", self._heard_file, error.strerror)

    def _hear(self, site: str, now_s: float) -> None:
        before = self._heard.get(site, {"at_s": 0.0, "since_s": 0.0, "short": False})
        unbroken = now_s - before["at_s"] < BREAK_S
        self._heard[site] = before | {"at_s": now_s, "since_s": before["since_s"] if unbroken else now_s}
        self._noted = False

    def takes(self, site: str, short: bool) -> None:
        """Remember whether a site takes its messages from this gateway, or as Flower has it from the SuperLink."""
        if self._heard[site].get("short") != short:
            self._heard[site] |= {"short": short}
            self._noted = False
            self.note()

    def holds(self, site: str, lost: dict[str, Callable[[], None]]) -> None:
        """Count a connection among those of a site's node, until it is lost: when a process dies, its connections end.

        Args:
            lost: by name what is called then; a connection counts once, however many requests come on it.
        """
        if site in lost:
            return
        lost[site] = lambda: self._loses(site)
        self._lines[site] += 1
        self._heard[site].pop("lost_s", None)
        self._noted = False

    def _loses(self, site: str) -> None:
        self._lines[site] -= 1
        if not self._lines[site]:
            self._heard[site]["lost_s"] = time.time()
            self._noted = False

    def _current(self) -> _Members:
        """The members. Where they cannot be read, nobody is one."""
        try:
            stamp = repr([(s.st_ino, s.st_mtime_ns, s.st_size) for s in map(Path.stat, self._watched)])
            if stamp != self._stamp:
                nodes = {key: (site, _public(site, key)) for key, site in self._membership.nodes().items()}
                self._members, self._stamp = _Members(dict(self._membership.identities()), nodes), stamp
            return self._members
        except (ConsiliumError, OSError) as error:
            log.error("who is a member cannot be read, so nobody passes: %s", error)
            raise LinkError("the coordinator cannot read its roster; it has been told in its log.") from None


def _public(site: str, pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise IdentityError("node-key", f"{site}: its node's public key is no ECDSA key.")
    return key


def _known(heard: Path) -> dict[str, dict[str, Any]]:
    try:
        return {
            str(site): {k: float(at[k]) for k in ("at_s", "since_s")} for site, at in (read_json(heard) or {}).items()
        }
    except (OSError, RunError, ValueError, KeyError, TypeError, AttributeError):
        return {}
