"""A proxy that the environment names is obeyed by `check` as by `run`, and named where it is in the way."""

import socket
import threading

import httpx
import pytest

from client.connection.fleet_client import unreachable
from client.connection.proxy import connect, proxy_for

VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_known_without_its_password(no_proxy, name):
    no_proxy.setenv(name, "http://ana:secret@proxy.example:3128")
    assert proxy_for("fl.example.org") == "http://proxy.example:3128"
    no_proxy.setenv("NO_PROXY", "example.org,192.0.2.1")
    assert proxy_for("fl.example.org") == proxy_for("192.0.2.1") == ""
    assert proxy_for("fl.example.net") == "http://proxy.example:3128"


def test_without_a_proxy_the_way_is_straight(no_proxy):
    no_proxy.setenv("HTTP_PROXY", "http://proxy.example:3128")  # for http:// alone
    assert proxy_for("fl.example.org") == ""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect("127.0.0.1", server.getsockname()[1], 5).close()


@pytest.mark.parametrize(
    ("answer", "lets_through"),
    [(b"HTTP/1.1 200 OK\r\n\r\nhello", True), (b"HTTP/1.1 407 No\r\n\r\n", False), (b"", False)],
)
def test_a_connection_goes_through_the_proxy_or_says_that_it_does_not(no_proxy, answer, lets_through):
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            peer, _ = server.accept()
            with peer:
                asked.append(peer.recv(1000))
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        no_proxy.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        if lets_through:
            with connect("fl.example.org", 8443, 5) as raw:
                assert raw.recv(5) == b"hello"
        else:
            with pytest.raises(OSError, match=r"the proxy http://127.0.0.1:.* does not let it through"):
                connect("fl.example.org", 8443, 5)
        thread.join()
    assert asked[0].startswith(b"CONNECT fl.example.org:8443 HTTP/1.1\r\n")


def test_a_proxy_that_does_not_answer_is_named(no_proxy):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    no_proxy.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(OSError, match=rf"the proxy http://127.0.0.1:{port} cannot be reached"):
        connect("192.0.2.1", 8443, 5)
    with pytest.raises(httpx.RequestError) as caught:
        httpx.get("https://192.0.2.1:8443/", timeout=5)
    assert f"through the proxy http://127.0.0.1:{port}" in unreachable(caught.value)
