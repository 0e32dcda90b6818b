"""Why a connection was not made: pynetdicom says that it was not, and this says why."""

import socket
import ssl

from common.errors import PacsError


def reason_not_connected(host: str, port: int, tls: ssl.SSLContext | None, timeout_s: float) -> PacsError | None:
    """Connect once more, by the sockets alone; None: that works."""
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            if tls:
                with tls.wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLCertVerificationError as error:
        return wrong_certificate(f"{host}:{port}", error.verify_message)
    except ssl.SSLError as error:
        return PacsError(
            "certificate",
            f"{host}:{port}: no TLS connection ({error.reason or error}). Does it expect TLS there, and does it know "
            "this site's certificate?",
        )
    except TimeoutError:
        return PacsError("unreachable", f"{host}:{port}: no answer within {timeout_s:g} s. Are host and port right?")
    except OSError as error:
        return PacsError(
            "unreachable", f"{host}:{port}: cannot be reached ({error.strerror or error}). Is it running there?"
        )
    return None


def wrong_certificate(place: str, why: str) -> PacsError:
    """Somebody else may answer there."""
    return PacsError(
        "certificate",
        f"{place}: its certificate is not one that is trusted here ({why}). Compare it with the archive's "
        "administrator, and name the right authority with --tls-ca.",
    )
