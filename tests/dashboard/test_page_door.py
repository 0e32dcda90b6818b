"""Who may look at the live page, and what a browser is told not to do. Without a browser: these tests always run."""

import json
import re
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import httpx
import pytest

from common.audit.entries import Entry
from common.errors import ConfigError, RunError
from common.web import login as lock_of
from common.web.form import FORM_BYTES
from common.web.login import Login
from server.__main__ import main
from server.consortium.home import Home
from server.dashboard import dashboard_app
from server.dashboard.dashboard_app import login_of
from server.dashboard.push import MOST_STREAMS
from tests.cli.piping import FRESH
from tests.consortium.consortium import Consortium
from tests.dashboard.served import PASSWORD, Page
from tests.deployment.federation import ROOT


def entries(home: Home) -> list[tuple[str, str]]:
    found = [Entry.model_validate_json(line) for line in home.log.lines()]
    return [(entry.what, entry.outcome) for entry in found if entry.what.startswith("page")]


def enter(page: Page, password: str = PASSWORD, **headers: str) -> httpx.Response:
    with page.client() as client:
        return client.post("/login", data={"password": password}, headers={"origin": page.url} | headers)


# --- without a session ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/errors", "/runs/x", "/runs/x/report.html", "/nothing", "/events", "/page.js"])
def test_whoever_is_not_logged_in_gets_the_login_page_alone(page: Page, path: str) -> None:
    with page.client() as client:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/login", b"")
        assert client.get(path, headers={"accept": "*/*"}).status_code == 401
        assert client.get("/session", headers={"accept": "*/*"}).status_code == 401
        assert "one-time" not in (login := client.get("/login")).text
        assert (login.status_code, "Log in" in login.text) == (200, True)
        assert client.get("/page.css").status_code == 200


@pytest.mark.parametrize("cookie", ["", "x", "0" * 43, "a" * 5000, "../../etc", '"quoted"'])
def test_a_forged_cookie_opens_nothing(page: Page, cookie: str) -> None:
    with page.client() as client:
        assert client.get("/", headers={"cookie": f"consilium-{page.port}={cookie}"}).status_code == 303


def test_what_is_in_the_session_file_opens_nothing(page: Page) -> None:
    with page.inside() as client:
        (digest,) = json.loads((page.home.live / "dashboard.json").read_text(encoding="utf-8"))
        assert digest not in str(client.cookies)
    with page.client() as client:
        assert client.get("/", headers={"cookie": f"consilium-{page.port}={digest}"}).status_code == 303


# --- links ----------------------------------------------------------------------------------------------------------


def test_a_link_works_once_and_is_gone_from_the_address(page: Page) -> None:
    first = page.links[0]
    with page.client() as client:
        answer = client.get(first)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "token" not in client.get("/").text
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie.lower() for word in ("httponly", "samesite=strict", "max-age=43200", "path=/"))
    with page.client() as client:
        answer = client.get(first)
        assert (answer.status_code, "used already" in answer.text) == (403, True)
        assert client.get(f"{page.url}/?token=guess").status_code == 403
    assert len(page.links) == 2  # the next one was told
    with page.client() as client:
        assert client.get(page.links[1]).status_code == 303
    assert entries(page.home) == [("page login", done) for done in ("done", "failed", "failed", "done")]


def test_a_link_that_many_follow_at_once_lets_one_in(page: Page) -> None:
    def follow(_: int) -> int:
        with page.client() as client:
            return client.get(page.links[0]).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(follow, range(8))) == [303] + [403] * 7


def test_where_there_is_a_password_there_is_no_link(locked: Page) -> None:
    assert locked.links == [f"{locked.url}/"]


# --- passwords ------------------------------------------------------------------------------------------------------


def test_a_password_lets_in_and_a_wrong_one_does_not(locked: Page) -> None:
    wrong = enter(locked, PASSWORD + "x")
    assert (wrong.status_code, "wrong password" in wrong.text, "set-cookie" in wrong.headers) == (403, True, False)
    with locked.client() as client:
        assert client.post("/login", data={"password": PASSWORD}, headers={"origin": locked.url}).status_code == 303
        assert "All runs" in client.get("/").text
        assert client.get("/login").headers["location"] == "/"
    assert entries(locked.home) == [("page login", "failed"), ("page login", "done")]


def test_wrong_passwords_are_slowed_down_and_so_is_the_right_one_behind_them(locked: Page) -> None:
    assert [enter(locked, "wrong").status_code for _ in range(4)] == [403, 403, 429, 429]
    answer = enter(locked)
    assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
    time.sleep(1.1)
    assert enter(locked).status_code == 303


def test_pauses_double_up_to_a_minute(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = [0.0], []
    monkeypatch.setattr(lock_of.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Login, "_fits", lambda *_: False)
    lock = login_of(consortium.home)
    for _ in range(11):
        with pytest.raises(lock_of.LoginRefusedError, match="wrong password") as refused:
            lock.enter("guess")
        pauses.append(refused.value.wait_s)
        now[0] += refused.value.wait_s
    assert pauses == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_password_is_kept_as_a_hash_that_its_owner_alone_can_read(locked: Page) -> None:
    file = locked.home.folder / "dashboard.password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in file.read_text(encoding="utf-8")
    file.write_text("damaged", encoding="utf-8")
    assert enter(locked).status_code == 403


def test_a_short_password_is_refused(consortium: Consortium) -> None:
    with pytest.raises(ConfigError, match="11 characters, expected 12"):
        login_of(consortium.home).set_password("elevenchars")


def test_a_new_password_ends_all_sessions(page: Page) -> None:
    with page.inside() as client:
        assert client.get("/").status_code == 200
        login_of(page.home).set_password(PASSWORD)
        assert client.get("/").status_code == 303


def test_without_a_terminal_no_password_is_asked_for(
    consortium: Consortium, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main(["dashboard", "--set-password", "--home", str(consortium.home.folder)]) == 2
    assert "asked for at a terminal" in capsys.readouterr().err


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_session_ends_by_log_out_and_by_time(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    with page.inside() as client:
        cookie = {"cookie": f"consilium-{page.port}={client.cookies[f'consilium-{page.port}']}"}
        assert client.post("/logout", headers={"origin": page.url}).headers["location"] == "/login"
        assert client.get("/", headers=cookie).status_code == 303
    assert entries(page.home)[-1] == ("page logout", "done")
    monkeypatch.setattr(lock_of, "SESSION_S", 5.0)
    with page.inside() as client:
        assert client.get("/session").status_code == 204
        time.sleep(5.1)
        assert client.get("/session", headers={"accept": "*/*"}).status_code == 401


def test_a_stream_ends_with_its_session(page: Page) -> None:
    with page.inside() as client, client.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert json.loads(next(lines).removeprefix("data: "))["parts"].keys() >= {"sites", "said", "title"}
        login_of(page.home).leave(client.cookies[f"consilium-{page.port}"])
        began = time.monotonic()
        assert sum(1 for _ in lines) < 20
        assert time.monotonic() - began < 30


def test_a_login_that_cannot_be_written_down_is_refused(page: Page) -> None:
    (page.home.folder / "audit" / "head").write_bytes(b"damaged")
    with page.client() as client:
        answer = client.get(page.links[0])
        assert (answer.status_code, "could not be written down" in answer.text) == (503, True)
        assert "set-cookie" not in answer.headers


# --- other people's pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "a@127.0.0.1", ""])
def test_under_another_name_there_is_nothing(page: Page, host: str) -> None:
    """DNS rebinding: a page of somebody else's, whose name was turned to this address."""
    with page.inside() as client:
        assert client.get("/", headers={"host": host}).status_code in (400, 421)
        assert client.get("/login", headers={"host": host}).status_code in (400, 421)
        assert client.get("/", headers={"host": f"localhost:{page.port + 1}"}).status_code == 200  # a tunnel's


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1", "https://127.0.0.1:{}"])
def test_a_form_of_another_page_is_refused(locked: Page, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin.format(locked.port)}
    with locked.client() as client:
        for path in ("/login", "/logout"):
            assert client.post(path, data={"password": PASSWORD}, headers=headers).status_code == 403
    assert enter(locked).status_code == 303


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"x" * (FORM_BYTES + 1), "application/x-www-form-urlencoded"), (b"{}", "application/json"),
     (b"password=%ff", "application/x-www-form-urlencoded"), (b"a=1&" * 9, "application/x-www-form-urlencoded")],
)  # fmt: skip
def test_what_is_no_form_is_refused(locked: Page, content: bytes, kind: str) -> None:
    with locked.client() as client:
        headers = {"origin": locked.url, "content-type": kind}
        assert client.post("/login", content=content, headers=headers).status_code == 400


@pytest.mark.parametrize("path", ["/", "/login", "/errors", "/page.js", "/page.css", "/session", "/none", "/runs/none"])
def test_every_answer_tells_the_browser_what_it_must_not_do(page: Page, path: str) -> None:
    with page.inside() as client:
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        told = [headers[name] for name in ("x-frame-options", "cache-control", "x-content-type-options")]
        assert told == ["DENY", "no-store", "nosniff"]
        assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/login", "/errors"])
def test_a_page_has_nothing_inline_and_loads_nothing_from_elsewhere(page: Page, path: str) -> None:
    with page.inside() as client:
        text = client.get(path).text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://", text)
    assert not re.search(r"<script[^>]*>[^<]", text)
    assert all(re.match(r"/|#|data:,$", address) for address in re.findall(r'(?:src|href|action)="([^"]*)"', text))


def test_nothing_on_the_page_acts_on_the_consortium(page: Page) -> None:
    with page.inside() as client:
        assert re.findall(r'<form[^>]*action="([^"]*)"', client.get("/").text) == ["/logout"]
        headers = {"origin": page.url}
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, "/", headers=headers).status_code == 405


def test_what_sites_and_papers_say_is_text_and_nothing_else(consortium: Consortium, page: Page) -> None:
    run = consortium.begun(consortium.plan())
    run.end("failed", "<script>alert(1)</script><img src=x onerror=alert(1)>")
    with page.inside() as client:
        text = client.get("/").text
        assert "&lt;script&gt;alert(1)" in text
        assert "<img" not in text
        assert client.get(f"/runs/{run.name}/report.html").status_code == 404
        assert client.get("/runs/..%2f..%2fconsortium.yaml").status_code == 404


def test_a_report_is_shown_and_let_do_nothing(consortium: Consortium, page: Page) -> None:
    run = consortium.begun(consortium.plan())
    (run.folder / "report.html").write_text("<!DOCTYPE html><p>the report</p>", encoding="utf-8")
    run.end("finished")
    with page.inside() as client:
        answer = client.get(f"/runs/{run.name}/report.html")
    assert (answer.status_code, "the report" in answer.text) == (200, True)
    assert answer.headers["content-security-policy"].startswith("sandbox allow-downloads; default-src 'none'")


def test_too_many_streams_are_refused(page: Page) -> None:
    with page.inside() as client, ExitStack() as streams:
        many = httpx.Client(base_url=page.url, cookies=client.cookies, limits=httpx.Limits(max_connections=None))
        streams.enter_context(many)
        lines = [streams.enter_context(many.stream("GET", "/events")).iter_lines() for _ in range(MOST_STREAMS)]
        assert all(next(line).startswith("data: ") for line in lines)
        with many.stream("GET", "/events") as one_more:
            assert one_more.status_code == 503


def test_too_many_streams_at_the_same_moment_are_refused_too(page: Page) -> None:
    asked = MOST_STREAMS + 8
    together = Barrier(asked)
    with page.inside() as client, ThreadPoolExecutor(asked) as pool:
        many = httpx.Client(base_url=page.url, cookies=client.cookies, limits=httpx.Limits(max_connections=None))

        def heard(_: int) -> bool:
            together.wait(60)
            with many.stream("GET", "/events") as stream:
                lines = stream.iter_lines()
                begun = next(lines, "").startswith("data: ")
                together.wait(60)
                return begun

        with many:
            assert sum(pool.map(heard, range(asked))) == MOST_STREAMS


# --- the process ----------------------------------------------------------------------------------------------------


def test_other_machines_are_let_in_with_a_password_and_tls_alone(consortium: Consortium) -> None:
    home = consortium.home
    with pytest.raises(ConfigError, match="set a password"):
        dashboard_app.serve(home, "0.0.0.0", 0)  # noqa: S104
    with pytest.raises(ConfigError, match="expected an IP address"):
        dashboard_app.serve(home, "example.org", 0)
    login_of(home).set_password(PASSWORD)
    links = list[str]()
    made = dashboard_app.server(home, "0.0.0.0", 4711, links.append)  # noqa: S104
    assert made.config.is_ssl
    assert links == ["https://127.0.0.1:4711/"]


def test_a_port_that_is_taken_is_said(page: Page) -> None:
    with pytest.raises(RunError, match=r"in use.*--port"):
        dashboard_app.serve(page.home, "127.0.0.1", page.port)


def test_a_part_that_cannot_be_read_does_not_take_the_others_with_it(page: Page) -> None:
    with page.inside() as client:
        (page.home.folder / "audit" / "head").write_bytes(b"damaged")
        text = client.get("/").text
    assert "This cannot be shown: " in text
    assert "Osaka" in text


def test_the_command_prints_a_link_and_ends_by_ctrl_c(consortium: Consortium) -> None:
    page = ("-m", "server", "dashboard", "--port", "0", "--home", str(consortium.home.folder))
    command = [sys.executable, "-c", FRESH, *page]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout
        assert process.stderr
        link = process.stdout.readline().removeprefix("A link that works once: ").strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", link)
        assert httpx.get(link).status_code == 303
        assert link not in process.stdout.readline()  # the next one
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "the page is closed; runs go on" in process.stderr.read()
