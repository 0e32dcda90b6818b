"""The consortium's TLS authority, with handshakes over real sockets."""

import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from server.consortium.tls import LOCAL_HOSTS, Pair, issue, make_authority


def handshake(folder: Path, pair: Pair, trusted: bytes, host: str) -> str:
    """The protocol's version, as a client sees it that trusts one authority alone and asks for one name."""
    (folder / "crt").write_bytes(pair[0])
    (folder / "key").write_bytes(pair[1])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "crt", folder / "key")
    client = ssl.create_default_context(cadata=trusted.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(left, server_side=True).close()
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=host) as link:
            return str(link.version())
    finally:
        right.close()
        thread.join()


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("Consortium of tests")


@pytest.mark.parametrize("host", ["fl.example.org", "192.0.2.7", "2001:db8::7", *LOCAL_HOSTS])
def test_a_certificate_holds_for_every_name_and_address_it_was_issued_for(
    tmp_path: Path, authority: Pair, host: str
) -> None:
    pair = issue(authority, ["fl.example.org", "192.0.2.7", "2001:db8::7"], 30)
    assert handshake(tmp_path, pair, authority[0], host) == "TLSv1.3"


def test_another_name_and_another_authority_are_refused(tmp_path: Path, authority: Pair) -> None:
    pair = issue(authority, ["fl.example.org"], 30)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"elsewhere\.example\.org"):
        handshake(tmp_path, pair, authority[0], "elsewhere.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="issuer"):
        handshake(tmp_path, pair, make_authority("Consortium of tests")[0], "fl.example.org")


def test_a_server_is_no_authority_and_the_authority_signs_no_other(authority: Pair) -> None:
    server, above = (x509.load_pem_x509_certificate(c) for c in (issue(authority, ["a.example"], 30)[0], authority[0]))
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    limits = above.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert limits.value.path_length == 0
    assert isinstance(server.public_key(), ec.EllipticCurvePublicKey)


def test_it_is_valid_for_the_days_asked_and_since_yesterday_for_clocks_that_are_behind(authority: Pair) -> None:
    certificate = x509.load_pem_x509_certificate(issue(authority, ["a.example"], 30)[0])
    now = datetime.datetime.now(datetime.UTC)
    assert abs(certificate.not_valid_after_utc - now - datetime.timedelta(days=30)) < datetime.timedelta(minutes=1)
    assert certificate.not_valid_before_utc < now - datetime.timedelta(hours=23)


@pytest.mark.parametrize(
    "host", ["", "a b", "https://a.example", "a.example:443", "*.example.org", "-a.example", "a..b", "ä.example",
             "1.2.3", "300.1.1.1", "a" * 254, "a.example\n"],
)  # fmt: skip
def test_what_is_no_host_is_refused_by_name(authority: Pair, host: str) -> None:
    with pytest.raises(ConfigError, match="no host name and no IP address") as caught:
        issue(authority, [host], 30)
    assert repr(host) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_issued_for_or_refused(authority: Pair, host: str) -> None:
    with contextlib.suppress(ConfigError):
        issue(authority, [host], 30)


def test_an_authority_whose_key_is_another_signs_nothing(authority: Pair) -> None:
    with pytest.raises(ConfigError, match="do not belong together"):
        issue((authority[0], make_authority("other")[1]), ["a.example"], 30)
    with pytest.raises(ConfigError, match="expected its certificate"):
        issue((b"nothing", authority[1]), ["a.example"], 30)
