"""The consortium's own TLS authority: one certificate that every site pins, and the server certificates under it.

Sites trust nothing else, so no public authority, name service or mistake of theirs can stand between. Keys are ECDSA
P-256, certificates X.509 (RFC 5280), all by `cryptography`. Nothing is written here: the caller keeps the keys.
"""

import datetime
import re
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConfigError

Pair = tuple[bytes, bytes]
"""Certificate and private key, both PEM."""

AUTHORITY_DAYS = 20 * 365
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""In every certificate: the coordinator's own processes speak TLS with each other, too."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
# A machine whose clock is behind must get as far as being told so.
_BACKDATED = datetime.timedelta(days=1)


def make_authority(name: str) -> Pair:
    """A new authority, which can sign servers' certificates and no further authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} TLS authority"[:64])])
    certificate = (
        _dated(who, key.public_key(), AUTHORITY_DAYS)
        .issuer_name(who)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _pem(key)


def issue(authority: Pair, hosts: Sequence[str], days: int) -> Pair:
    """A server's certificate for these names and addresses and for this machine's own, valid for so many days.

    Raises:
        ConfigError: for what is neither a host name nor an IP address, or an authority that cannot sign.
    """
    names = [_general_name(host) for host in dict.fromkeys((*hosts, *LOCAL_HOSTS))]
    try:
        above, signer = x509.load_pem_x509_certificate(authority[0]), load_pem_private_key(authority[1], None)
    except (ValueError, TypeError):
        raise ConfigError("the TLS authority: expected its certificate and its private key, both PEM.") from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != above.public_key():
        raise ConfigError("the TLS authority: its certificate and its private key do not belong together.")
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (*hosts, *LOCAL_HOSTS)[0][:64])])
    certificate = (
        _dated(who, key.public_key(), days)
        .issuer_name(above.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _pem(key)


def _dated(who: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(who)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit():
        raise ConfigError(
            f"address: {host!r} is no host name and no IP address; expected one like fl.example.org or 192.0.2.7, "
            "without port, scheme or spaces."
        )
    return x509.DNSName(host.lower())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
