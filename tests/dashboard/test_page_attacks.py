"""What whoever reaches the live page's port, or has its people's browsers ask it something, tries; raw bytes."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from common.web import form as small_form
from common.web import login
from server.consortium.home import Home
from server.dashboard import dashboard_app
from server.dashboard.dashboard_app import login_of
from tests.consortium.consortium import Consortium
from tests.dashboard.served import PASSWORD, Page
from tests.tally import TRIED

ODD = (
    "//", "//evil.example/", "/%2e%2e/", "/..", "/%00", "/runs/%00", "/runs/..", "/runs/%2e%2e",
    "/runs/%F0%9F%98%80", "/runs/%ff%fe", f"/runs/{'a' * 30000}", "/runs/x%2f..", "/runs/x%0d%0aSet-Cookie:a=b",
    "/runs/[", "/events?run=..", "/events?run=%00", f"/events?run={'a' * 20000}", "/errors%3f", "/lo%0agin",
    "/login%3fx", "/login/..", "/page.css/../errors", "/page.js%00", "/\\evil", "*",
)  # fmt: skip
HOSTS = (
    "localhost.", "127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[::1%25lo]", "127.0.0.1\\x", "127.0.0.1 x",
    "127.0.0.1,evil", "[", "evil.example#127.0.0.1", "evil.example?127.0.0.1", "xn--localhost", "localhost\tevil",
)  # fmt: skip


def said(page: Page, head: str, *more: bytes, wait_s: float = 5.0) -> bytes:
    """What comes back on one connection until it is closed; more is sent after a first answer."""
    with socket.create_connection(("127.0.0.1", page.port), wait_s) as line:
        line.sendall(head.encode() + b"\r\n\r\n")
        answer = b""
        try:
            for piece in more:
                answer += line.recv(65536)
                line.sendall(piece)
            while data := line.recv(65536):
                answer += data
        except ConnectionError:
            pass
        return answer


def head(page: Page, target: str, method: str = "GET", host: str = "", **headers: str) -> str:
    told = {"host": host or f"127.0.0.1:{page.port}", "connection": "close"} | headers
    return "\r\n".join([f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())])


def cookie(page: Page) -> dict[str, str]:
    name = f"consilium-{page.port}"
    with page.inside() as client:
        return {"cookie": f"{name}={client.cookies[name]}"}


def refused(answer: bytes) -> bool:
    """Whether nothing was told, and the browser what it must not do."""
    first, _, rest = answer.partition(b"\r\n")
    shielded = b"default-src 'none'" in rest and b"nosniff" in rest
    return first.split()[1] in (b"401", b"403", b"404", b"421") and shielded and b"Traceback" not in answer


def test_no_spelling_of_an_address_leads_past_the_door(page: Page) -> None:
    inside = cookie(page)
    for target in ODD:
        assert refused(said(page, head(page, target))), target
        assert refused(said(page, head(page, target, **inside))), target
    for method in ("OPTIONS", "PUT", "TRACE", "CONNECT", "DELETE", "PROPFIND"):
        assert refused(said(page, head(page, "/", method, **inside))), method
    split = said(page, head(page, "/runs/x%0d%0aSet-Cookie:a=b", **inside)).partition(b"\r\n\r\n")[0]
    assert b"set-cookie" not in split.lower()
    assert said(page, head(page, "/", "HEAD", **inside)).endswith(b"\r\n\r\n")
    TRIED["odd requests to the live page, refused"] += 2 * len(ODD) + 7


def test_no_spelling_of_another_name_is_taken_for_the_pages_own(page: Page) -> None:
    inside = cookie(page)
    for host in HOSTS:
        answer = said(page, head(page, "/", host=host, **inside))
        assert answer.split()[1] in (b"400", b"421"), host
    twice = said(page, head(page, "/", **inside) + "\r\nHost: evil.example")
    assert twice.split()[1] == b"421"
    assert said(page, head(page, "/", host="LOCALHOST", **inside)).split()[1] == b"200"
    assert said(page, head(page, "/", host="[::1]:99", **inside)).split()[1] == b"200"
    TRIED["odd requests to the live page, refused"] += len(HOSTS) + 1


def test_refused_logins_do_not_fill_the_log(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any web page can have a browser on the coordinator's machine follow a wrong link, as often as it likes."""
    monkeypatch.setattr(login, "MOST_NOTED", 3)
    before = sum(1 for _ in page.home.log.lines())
    for _ in range(9):
        assert httpx.get(f"{page.url}/?token=guess", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert sum(1 for _ in page.home.log.lines()) == before + 3
    assert httpx.get(page.links[0]).status_code == 303  # and the right one works all the same


def test_a_link_is_void_once_a_password_is_set(page: Page) -> None:
    login_of(page.home).set_password(PASSWORD)
    assert httpx.get(page.links[0]).status_code == 403


def test_a_form_that_does_not_come_keeps_no_connection(locked: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_form, "FORM_S", 0.3)
    form = {"origin": locked.url, "content-type": "application/x-www-form-urlencoded", "connection": "keep-alive"}
    for size in ({"content-length": "99"}, {"transfer-encoding": "chunked"}):
        began = time.monotonic()
        assert said(locked, head(locked, "/login", "POST", **form, **size)).split()[1] == b"400"
        assert time.monotonic() - began < 20


def test_a_body_that_nobody_reads_keeps_no_connection(page: Page) -> None:
    """Its next byte would have stopped the clock that closes idle connections."""
    for target in ("/login", "/session", "/none"):
        began = time.monotonic()
        said(page, head(page, target, **{"content-length": "999999", "connection": "keep-alive"}), b"x")
        assert time.monotonic() - began < 20


def test_guesses_at_once_are_looked_at_one_by_one(locked: Page) -> None:
    def guess(number: int) -> int:
        return httpx.post(
            f"{locked.url}/login", data={"password": f"guess {number}"}, headers={"origin": locked.url}
        ).status_code

    with ThreadPoolExecutor(16) as pool:
        found = [*pool.map(guess, range(16))]
    assert found.count(403) == 2
    assert found.count(429) == 14


def test_a_session_that_somebody_else_chose_is_none(locked: Page) -> None:
    chosen = {"cookie": f"consilium-{locked.port}=chosen"}
    answer = httpx.post(f"{locked.url}/login", data={"password": PASSWORD}, headers={"origin": locked.url} | chosen)
    assert "chosen" not in answer.headers["set-cookie"]
    assert refused(said(locked, head(locked, "/", **chosen)))


def test_a_name_in_capitals_is_the_pages_own(consortium: Consortium) -> None:
    path = consortium.home.folder / "consortium.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace(consortium.home.settings.address, "Coordinator.Example:8443"),
        encoding="utf-8",
    )
    home = Home.at(consortium.home.folder)
    address = dashboard_app.address_of(home, "192.0.2.1", 8765)
    assert "coordinator.example" in address.hosts
