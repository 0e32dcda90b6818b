"""What is tried at the hospital's page, without a session and with one: nothing is read or decided for others."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from client.plans.inbox import PlanInbox
from common.web.form import FORM_BYTES
from common.web.login import Login
from tests.page.served_hospital import Consulted, HospitalPage
from tests.tally import TRIED

PATHS = (
    "/plans/../log", "/plans/%2e%2e%2flog", "/plans/..%5c..%5csite.yaml", "/page.css/../../site.yaml", "//etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd", "/me.key", "/site.yaml", "/plans/x%0d%0aset-cookie:%20a=b", "/plans/;ls",
    "/page.css%00.key",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(hospital: HospitalPage, path: str) -> None:
    for inside in (False, True):
        with hospital.inside() if inside else hospital.client() as client:
            answer = client.get(path)
            assert answer.status_code in ((404, 405, 200) if inside else (303, 404))
            assert "PRIVATE KEY" not in answer.text
            assert "set-cookie" not in answer.headers
            assert "root:" not in answer.text
    TRIED["paths at the hospital's page that lead to no file"] += 2


def test_a_session_that_somebody_else_chose_is_none(hospital: HospitalPage) -> None:
    """Fixation: the cookie from before the login, empty ones, many, those of another page, and that of who has left."""
    name = f"consilium-{hospital.port}"
    for value in ("", "x", "a" * 3000, "None", "0" * 43, "../../me.key"):
        with hospital.client() as client:
            client.cookies.set(name, value)
            assert client.get("/").status_code == 303
            client.get(hospital.links[-1])
            assert client.cookies.get(name, domain="127.0.0.1") != value
        with hospital.client() as client:  # who chose it is not let in by it
            client.cookies.set(name, value)
            assert client.get("/").headers["location"] == "/login"
    with hospital.client() as client:
        client.get(hospital.links[-1])
        session = client.cookies[name]
        assert client.post("/logout", headers={"origin": "http://evil.example"}).status_code == 403
        assert client.get("/session").status_code == 204
        client.post("/logout", headers={"origin": hospital.url})
        client.cookies.set(name, session)
        assert client.get("/session").status_code in (303, 401)
    TRIED["sessions that somebody else chose"] += 15


def test_two_sessions_of_one_person_at_once_see_each_its_own_answer(
    consulted: Consulted, hospital: HospitalPage
) -> None:
    plan, _ = consulted.ask("twice")
    with hospital.inside() as first, hospital.inside() as second:
        begin = threading.Barrier(2)

        def decide(client: httpx.Client, verdict: str) -> int:
            begin.wait(30)
            address = f"/plans/{plan.name}/{verdict}"
            return client.post(address, data={"reason": "mine"}, headers={"origin": hospital.url}).status_code

        first.get("/plans/" + plan.name)
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(decide, *each) for each in ((first, "approve"), (second, "refuse"))]
            assert [each.result(120) for each in answers] == [303, 303]
        texts = [client.get(f"/plans/{plan.name}").text for client in (first, second)]
    assert PlanInbox(consulted.here).decision(plan) is not None
    assert ["approved" in _message(texts[0]), "refused" in _message(texts[1])] == [True, True], texts
    with hospital.inside() as third:
        assert 'id="message"' not in third.get(f"/plans/{plan.name}").text


def _message(text: str) -> str:
    return text.partition('id="message"')[2].partition("</p>")[0]


def test_a_form_that_is_too_long_or_none_decides_nothing(consulted: Consulted, hospital: HospitalPage) -> None:
    plan, _ = consulted.ask("long")
    address, origin = f"/plans/{plan.name}/refuse", {"origin": hospital.url}
    kind = {"content-type": "application/x-www-form-urlencoded"}
    with hospital.inside() as client:
        client.get(f"/plans/{plan.name}")
        for content, headers in (
            (b"reason=" + b"x" * FORM_BYTES, kind), (b"reason=" + b"x" * (1 << 22), kind),
            (b"&".join(b"a%d=1" % i for i in range(500)), kind), (b"reason=%ff%fe", kind),
            (b'{"reason": "x"}', {"content-type": "application/json"}),
            (b"--x\r\n\r\n", {"content-type": "multipart/form-data; boundary=x"}), (b"reason=%20%09%0a", kind),
            (b"", kind),
        ):  # fmt: skip
            try:
                answer = client.post(address, content=content, headers=origin | headers)
                assert answer.status_code == 400 or "write down why" in client.get(f"/plans/{plan.name}").text
            except httpx.WriteError:
                pass  # the page closed while the rest was on its way
            TRIED["odd forms at the hospital's page"] += 1
    assert PlanInbox(consulted.here).decision(plan) is None


def test_whose_session_ends_has_no_open_key_any_more() -> None:
    ended: list[str] = []
    login = Login(on_leave=ended.append)
    session = login.enter_if(lambda: True, "passphrase")
    assert login.admits(session)
    login.leave(session)
    assert (ended, login.admits(session)) == ([session], False)
