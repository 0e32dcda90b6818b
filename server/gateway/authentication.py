"""Who may pass the gateway: members' nodes by Flower's signed headers, members by their identity.

What is tried here, and what stops it:

    a request of a stranger                 its key is no active member's: `site_of_node`, `site_of_identity`
    a request recorded and sent again       every signature is taken once: `ReplayGuard.refuse_replayed`
    a request signed long ago, or ahead     Flower's window of about five minutes: `ReplayGuard.refuse_out_of_time`
    a recording, after a restart            what was signed before this process started is refused (`ReplayGuard`)
    a member that was suspended             the roster is read again as soon as its file changes: `_current`
    guessing who is a member                a stranger and a wrong key get the same answer: `not_a_member`

Of a request to Flower the signature covers the time alone, not the body, as Flower 1.42 has it: what is signed is who
speaks, and when. TLS keeps the body; the replay cache sees to it that one signature lets one request through. Of a
request to the site API it covers method, path, time and body (common/trust/request_signing.py).
"""

import binascii
import logging
import time
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.datastructures import Headers

from common.errors import ConsiliumError, IdentityError, LinkError
from common.trust.request_signing import ReplayGuard, not_a_member, verify_request
from server.gateway.site_contacts import SiteContacts

log = logging.getLogger("consilium")

PUBLIC_KEY, TIMESTAMP, SIGNATURE = "flwr-public-key", "flwr-timestamp", "flwr-signature"
"""Flower's headers; tests/gateway/test_gateway.py compares them with the installed Flower's."""


class Membership(Protocol):
    """Who belongs to the consortium at the moment."""

    def identities(self) -> Mapping[str, bytes]:
        """Ed25519 public keys of the active members, by name."""

    def nodes(self) -> Mapping[bytes, str]:
        """Active members by their node's public key, PEM, as Flower's header has it."""


class _Members(NamedTuple):
    identities: Mapping[str, bytes]
    nodes: Mapping[bytes, tuple[str, ec.EllipticCurvePublicKey]]


class RequestAuthentication:
    """Knows the members, and which requests were taken already. For one event loop.

    Args:
        membership: asked again when one of these files or folders has changed.
        paths: the files and folders.
        contacts: is told of every request that was verified.
    """

    def __init__(self, membership: Membership, paths: Sequence[Path], contacts: SiteContacts) -> None:
        self._membership = membership
        self._paths = tuple(paths)
        self._contacts = contacts
        self._members = _Members({}, {})
        self._stamp = ""
        self._seen = ReplayGuard()

    def site_of_node(self, headers: Headers) -> str:
        """The site whose node signed a request to Flower.

        Raises:
            IdentityError: no member's, not signed as Flower does, out of time, or taken before.
            LinkError: signed before this process started, or the membership cannot be read.
        """
        try:
            # Exactly one of each: of two, this gateway might verify the one and the SuperLink believe the other.
            (key,), (at,), (signature,) = (headers.getlist(name) for name in (PUBLIC_KEY, TIMESTAMP, SIGNATURE))
            public_key, signature_bytes = b64decode(key, validate=True), b64decode(signature, validate=True)
            moment, statement = datetime.fromisoformat(at), at.encode("ascii")
            if moment.tzinfo is None:
                raise ValueError
        except (ValueError, binascii.Error):
            raise IdentityError("no-credentials", "the request is not signed as Flower's nodes do it.") from None
        now_s = time.time()
        self._seen.refuse_out_of_time(moment.timestamp(), now_s)
        site, member_key = self._current().nodes.get(public_key, ("", None))
        try:
            if member_key is None:
                raise InvalidSignature
            member_key.verify(signature_bytes, statement, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise not_a_member() from None
        # After the signature, or a stranger could use up a member's time stamps. The statement, not the signature, is
        # remembered: ECDSA has two valid signatures of each statement, and the second one would pass.
        self._seen.refuse_replayed(b"node\0" + public_key + statement, now_s)
        self._contacts.note_request(site, now_s)
        return site

    def site_of_identity(self, headers: Mapping[str, str], method: str, path: str, body: bytes) -> str:
        """The site that signed a request to the site API; raises as `site_of_node` does."""
        site = verify_request(headers, method, path, body, self._current().identities, self._seen)
        self._contacts.note_request(site, time.time())
        return site

    def _current(self) -> _Members:
        """The members. Where they cannot be read, nobody is one."""
        try:
            stamp = repr([(s.st_ino, s.st_mtime_ns, s.st_size) for s in map(Path.stat, self._paths)])
            if stamp != self._stamp:
                nodes = {key: (site, _public_key(site, key)) for key, site in self._membership.nodes().items()}
                self._members = _Members(dict(self._membership.identities()), nodes)
                self._stamp = stamp
            return self._members
        except (ConsiliumError, OSError) as error:
            log.error("who is a member cannot be read, so nobody passes: %s", error)
            raise LinkError("the coordinator cannot read its roster; it has been told in its log.") from None


def _public_key(site: str, pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise IdentityError("node-key", f"{site}: its node's public key is no ECDSA key.")
    return key
