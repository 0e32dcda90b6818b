"""How a hospital joins a consortium: a request with its public keys goes there, a welcome with the roots' comes back.

Neither holds a secret. Whether the right people sent them is settled by reading a fingerprint over the telephone.
"""

import base64
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ConfigError, IdentityError, WireError
from common.trust.documents import SignedDocument, fingerprint, read_document, sign_document
from common.trust.keys import KEY_BYTES, digest, public_of
from common.trust.rekey import read_rekey, rekey_paper
from common.trust.roster import Pins, Roster, load_verified_roster

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of sites and consortia: they become names of folders."""
ADDRESS = r"^[A-Za-z0-9.-]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$"
"""host:port"""
MOST_CONTACT = 200


def checked_name(name: str, what: str) -> str:
    """A name that can be a folder's.

    Raises:
        ConfigError: for any other.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"{what}: {name[:80]!r}; expected up to 63 letters, digits, dots, dashes, without spaces.")
    return name


@dataclass(frozen=True)
class JoinRequest:
    """What a site asks to be admitted with."""

    site: str
    contact: str
    identity: bytes
    """Ed25519 public key, 32 bytes: signs what the site says."""
    node: str
    """ECDSA P-384 public key in OpenSSH's form: lets its messages through at the gateway."""
    made_s: float
    file: bytes = field(repr=False)
    """As it was sent, signed."""
    rekey: bytes = field(repr=False, default=b"")
    """The word of the site's old key for this one (`common.trust.rekey`); empty: there is none, or it is lost."""

    @property
    def fingerprint(self) -> str:
        """Thirty digits of the site's keys, to be compared by telephone."""
        return fingerprint(self.identity, self.node.encode())

    @classmethod
    def write(
        cls, site: str, contact: str, identity: Ed25519PrivateKey, node: ec.EllipticCurvePrivateKey,
        old: Ed25519PrivateKey | None = None,
    ) -> Self:  # fmt: skip
        """A new one, signed by both keys, which shows that the site has both.

        Args:
            old: the identity before, if it moves to a new one and still has it.

        Raises:
            ConfigError: for a contact that does not fit on a line.
        """
        if len(contact) > MOST_CONTACT or not contact.isprintable():
            raise ConfigError(f"--contact: expected one line of up to {MOST_CONTACT} characters.")
        public_identity, public = public_of(identity), _openssh(node.public_key())
        proof = node.sign(_proof(site, public_identity), ec.ECDSA(hashes.SHA384()))
        content: dict[str, Any] = {"site": site, "contact": contact, "identity": public_identity.hex(), "node": public}
        if old:
            content["rekey"] = rekey_paper(site, old, public_identity).to_json()
        document = sign_document("request", content | {"node_proof": proof.hex(), "made_s": time.time()}, [identity])
        return cls.read(document.encode())

    @classmethod
    def read(cls, file: bytes) -> Self:
        """Read a request from its file, and check that both keys have signed it.

        Raises:
            WireError: if it is no request.
            IdentityError: if one of the two keys has not signed it.
            ConfigError: for a name that cannot be used.
        """
        document = read_document(file, "request")
        try:
            content = document.content
            site, identity, node = str(content["site"]), bytes.fromhex(content["identity"]), str(content["node"])
            proof, contact, made_s = (
                bytes.fromhex(content["node_proof"]),
                str(content["contact"]),
                float(content["made_s"]),
            )
            key = serialization.load_ssh_public_key(node.encode())
            if len(identity) != KEY_BYTES or not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 384:
                raise ValueError
            # One spelling: what people compare by telephone, and what must not be on the roster twice.
            if _openssh(key) != node or len(contact) > MOST_CONTACT or not contact.isprintable():
                raise ValueError
            rekey = json.dumps(content["rekey"]).encode() if "rekey" in content else b""
            proven = _proof(checked_name(site, "site"), identity)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, UnsupportedAlgorithm):
            raise WireError("a request without name, identity or node key. Write it again: client init.") from None
        document.verify([identity], f"site {site}")
        try:
            key.verify(proof, proven, ec.ECDSA(hashes.SHA384()))
        except InvalidSignature:
            raise IdentityError("bad-signature", f"request of {site}: its node key has not signed it.") from None
        if rekey and read_rekey(rekey)[::2] != (site, identity):
            raise IdentityError("swapped-key", f"request of {site}: its old key speaks for another key or site.")
        return cls(site, contact, identity, node, made_s, file, rekey)


@dataclass(frozen=True)
class Welcome:
    """What a site pins when it joins."""

    site: str
    identity: bytes
    """The key that was admitted under this name."""
    address: str
    """host:port of the coordinator's gateway."""
    authority: str
    """The consortium's TLS certificate, PEM: what the gateway's must be issued by."""
    pins: Pins
    roster_file: bytes
    roster: Roster

    @property
    def fingerprint(self) -> str:
        """Of the consortium, to be compared by telephone."""
        return consortium_fingerprint(self.pins)

    @staticmethod
    def draw_up(
        site: str, identity: bytes, address: str, authority: str, pins: Pins, roster: Roster
    ) -> SignedDocument:  # fmt: skip
        """What the roots sign for a site that joins; nobody has yet."""
        content: dict[str, Any] = {"site": site, "identity": identity.hex(), "address": address, "authority": authority}
        content |= {"consortium": pins.federation, "roots": [root.hex() for root in pins.roots]}
        content["changes"] = pins.changes
        return sign_document("welcome", content | {"roster": roster.digest.hex()}, ())

    @staticmethod
    def file(welcome: bytes, roster: bytes) -> bytes:
        """The file that is sent to the site: the signed welcome, and beside it the signed roster that it names."""
        fields = json.loads(welcome) | {"roster": base64.b64encode(roster).decode()}
        return (json.dumps(fields, indent=1) + "\n").encode()

    @classmethod
    def read(cls, file: bytes) -> Self:
        """Read a welcome from its file. Whose roots these are is not known before the fingerprint was compared.

        Raises:
            WireError: if it is no welcome.
            IdentityError: if its own roots have not signed it, or its roster, or the roster has not the site in it.
            PolicyError: if the roster is another consortium's.
            ConfigError: for a name that cannot be used.
        """
        document = read_document(file, "welcome")
        content = document.content
        try:
            roots = tuple(bytes.fromhex(root) for root in content["roots"])
            pins = Pins(str(content["consortium"]), roots, int(content["changes"]))
            roster, roster_digest = base64.b64decode(json.loads(file)["roster"], validate=True), str(content["roster"])
            site, identity = str(content["site"]), bytes.fromhex(content["identity"])
            address, authority = str(content["address"]), str(content["authority"])
            if not re.fullmatch(ADDRESS, address):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise WireError("a welcome of another release. Ask the coordinator for it again.") from None
        document.verify(pins.roots, "the consortium's root")
        members = load_verified_roster(roster, pins)
        if members.digest.hex() != roster_digest:
            raise IdentityError("bad-signature", f"a welcome for {site}, and another roster beside it than it names.")
        if members.active.get(checked_name(site, "site")) != identity:
            raise IdentityError("swapped-key", f"a welcome for {site}, and its roster has not {site} under that key.")
        checked_name(pins.federation, "consortium")
        return cls(site, identity, address, authority, pins, roster, members)


def consortium_fingerprint(pins: Pins) -> str:
    """Of the roots, to be compared by telephone."""
    return fingerprint(pins.federation.encode(), *pins.roots)


def _openssh(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _proof(site: str, identity: bytes) -> bytes:
    return digest("node", site.encode(), identity)
