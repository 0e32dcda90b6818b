"""What ends is told before it does, and the gateway's certificate is renewed and taken up without a restart."""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.trust.keys import public_of
from server.__main__ import main as server
from server.consortium import certificate, expiry, membership
from server.gateway import app
from server.gateway.site_api import FolderSiteApi
from server.runs.status import status_as_json
from server.service.certificate_keeper import LOOK_EVERY_S, CertificateKeeper
from tests.consortium.consortium import Consortium
from tests.gateway.running_gateway import Serving, free_port

DAY_S = 86_400.0


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path, ())


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize(
    ("left_s", "days"),
    [
        (31 * DAY_S, None), (30 * DAY_S, 30), (8 * DAY_S, 30), (7 * DAY_S, 7), (1.5 * DAY_S, 7), (DAY_S, 1), (60, 1),
        (0, 0), (-1, 0),
    ],
)  # fmt: skip
def test_it_is_told_30_7_and_1_days_before_and_when_it_is_over(left_s: float, days: int | None) -> None:
    assert expiry.Expiry("It", 1000 * DAY_S, "Mend it.").days_before(1000 * DAY_S - left_s) == days


def test_status_warns_of_a_roster_that_ends_soon(consortium: Consortium, capsys: pytest.CaptureFixture[str]) -> None:
    assert expiry.warnings(consortium.home, time.time()) == []
    membership.renew(consortium.home, 6, consortium.roots)
    (warning,) = expiry.warnings(consortium.home, time.time())
    assert warning.startswith("The roster, without which no site answers, expires in 6 days, on 20")
    assert "python -m server renew --days 365" in warning
    assert status_as_json(consortium.home)["expiring"] == [warning]
    assert server(["status", "--home", str(consortium.home.folder)]) == 0
    assert "expires in 6 days" in capsys.readouterr().out
    over = expiry.warnings(consortium.home, time.time() + 7 * DAY_S)
    assert "The roster, without which no site answers, has expired" in over[0]


def test_a_change_of_roots_that_is_on_its_way_is_told(consortium: Consortium) -> None:
    new, home = Ed25519PrivateKey.generate(), consortium.home
    membership.rotate(home, [public_of(new)], [*consortium.roots, new])
    (warning,) = expiry.warnings(home, time.time())
    assert warning.startswith("The time of the present roots expires in 7 days, on 20")
    assert "Runs that began before fail then" in warning


def test_with_the_clock_moved_on_the_certificate_is_renewed_as_long_as_the_roster_is_valid(
    consortium: Consortium,
) -> None:
    home, now = consortium.home, time.time()
    membership.renew(home, 3650, consortium.roots)
    path = certificate.certificate_file(home)
    first, end_s = path.read_bytes(), certificate.expires_s(path)
    assert not certificate.renew(home, end_s - 31 * DAY_S)
    assert path.read_bytes() == first
    assert certificate.renew(home, end_s - 29 * DAY_S)
    assert certificate.expires_s(path) == pytest.approx(
        min(end_s - 29 * DAY_S + certificate.DAYS * DAY_S, home.roster.expires_s), abs=DAY_S
    )
    read(path).verify_directly_issued_by(read(home.authority))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, home.folder / "tls" / "server.key")
    membership.renew(home, 365, consortium.roots)
    certificate.write(home, 364)  # as long as the roster: nothing is won by another
    assert not certificate.renew(home, now + 360 * DAY_S)


def test_the_keeper_says_each_once_and_renews(consortium: Consortium, caplog: pytest.LogCaptureFixture) -> None:
    home, keeper = consortium.home, CertificateKeeper(consortium.home)
    certificate.write(home, 20)
    old = read(certificate.certificate_file(home)).serial_number
    now = time.time()
    with caplog.at_level(logging.INFO, "consilium"):
        assert keeper.turn(now) == ""
        assert read(certificate.certificate_file(home)).serial_number != old
        assert "a new one is made" in caplog.text
        caplog.clear()
        for days in (340, 340.5, 359, 364.5, 366):
            assert keeper.turn(now + days * DAY_S) == ""
            assert keeper.turn(now + days * DAY_S + 1) == ""  # too soon to look again
    told = [message for message in caplog.messages if message.startswith("The roster")]
    assert len(told) == 4
    assert "has expired" in told[-1]
    (home.folder / "tls" / "server.crt").write_bytes(b"none")
    assert "expected a certificate" in keeper.turn(now + 400 * DAY_S + LOOK_EVERY_S)


def test_the_superlinks_certificate_is_made_once_and_for_this_machine_alone(consortium: Consortium) -> None:
    certificate.ensure_local(consortium.home)
    local = read(consortium.home.folder / "tls" / "local.crt")
    certificate.ensure_local(consortium.home)
    assert read(consortium.home.folder / "tls" / "local.crt") == local
    names = local.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert local.not_valid_after_utc.timestamp() - time.time() > 19 * 365 * DAY_S


def test_a_running_gateway_takes_up_a_new_certificate(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOOK_AT_CERTIFICATE_S", 0.02)
    home, port = consortium.home, free_port()
    settings = home.folder / "consortium.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace("port: 8443", f"port: {port}", 1), encoding="utf-8"
    )
    serving = Serving(home, FolderSiteApi(home))
    serving.start()
    try:
        context = ssl.create_default_context(cafile=str(home.authority))

        def serial() -> int:
            with (
                socket.create_connection(("127.0.0.1", port), 10) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as line,
            ):
                return x509.load_der_x509_certificate(line.getpeercert(binary_form=True) or b"").serial_number

        before = serial()
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as line,
        ):
            certificate.write(home, 100)
            new = read(certificate.certificate_file(home)).serial_number
            assert within(20, lambda: serial() == new != before)
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # who is connected stays so
            assert line.recv(20).startswith(b"HTTP/1.1")
    finally:
        serving.stop()


def within(seconds: float, true: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.05)
    return true()
