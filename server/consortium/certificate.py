"""The gateway's certificate: renewed by itself while the roster is valid, and taken up by the running gateway.

The authority that sites pin stays, so nobody there has to do anything. Flower's SuperLink listens on this machine
alone, with a certificate of its own that is good for as long as the authority is, and is never taken up anew.
"""

import time
from pathlib import Path

from cryptography import x509

from common.errors import ConfigError
from common.storage import tensorfile
from server.consortium import tls
from server.consortium.home import Home

DAY_S = 86_400.0
DAYS = 3 * 365
"""A new certificate's, or as long as the roster and the authority are valid, if that is less."""
RENEWED_S = 30 * DAY_S
"""So long before its end."""


def expires_s(path: Path) -> float:
    """When a certificate ends, in seconds since 1970.

    Raises:
        ConfigError: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        raise ConfigError(f"{path}: expected a certificate, PEM. `python -m server renew` makes one.") from None


def renew(home: Home, now_s: float) -> bool:
    """Make a new certificate if the present one ends soon and the roster is valid for longer; whether it did."""
    end_s = expires_s(certificate_file(home))
    longest_s = min(home.roster.expires_s, expires_s(home.authority), now_s + DAYS * DAY_S)
    if end_s - now_s > RENEWED_S or longest_s <= end_s + DAY_S or longest_s <= now_s:
        return False
    write(home, max(1, int((longest_s - time.time()) / DAY_S)))
    return True


def write(home: Home, days: int, *hosts: str) -> None:
    """A new certificate and key for the gateway, in the place of those that are there.

    Args:
        hosts: further names that sites may reach it by, as while it moves.
    """
    certificate, key = tls.issue(_authority(home), [home.settings.host, *hosts], days)
    # The key first: the gateway looks at the certificate, and takes up both when they belong together.
    tensorfile.write_atomically(home.folder / "tls" / "server.key", key, mode=0o600)
    tensorfile.write_atomically(certificate_file(home), certificate)


def certificate_file(home: Home) -> Path:
    """The gateway's."""
    return home.folder / "tls" / "server.crt"


def ensure_local(home: Home) -> None:
    """Make the certificate that Flower's SuperLink has on this machine alone, where there is none or it ends soon."""
    certificate, key = home.folder / "tls" / "local.crt", home.folder / "tls" / "local.key"
    if certificate.exists() and key.exists() and expires_s(certificate) - time.time() > RENEWED_S:
        return
    days = max(1, int((expires_s(home.authority) - time.time()) / DAY_S))
    pair = tls.issue(_authority(home), [], days)
    tensorfile.write_atomically(key, pair[1], mode=0o600)
    tensorfile.write_atomically(certificate, pair[0])


def _authority(home: Home) -> tls.Pair:
    return home.authority.read_bytes(), (home.folder / "tls" / "ca.key").read_bytes()


def changed_ns(home: Home) -> int:
    """When the certificate was written last."""
    return certificate_file(home).stat().st_mtime_ns
