"""People at the coordinator are told by webhook and mail what they have to see to: once, and anew when it is back."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.audit.entries import decode
from common.storage.files import write_json
from server.consortium import membership
from server.consortium.home import Home
from server.service.coordinator_notices import DAY_S, HOUR_S, VOID_ROUNDS, send_notices
from server.superlink.exchange_progress import ExchangeProgress
from tests.consortium.consortium import Consortium
from tests.plans.mail_server import MailServer
from tests.plans.webhook_server import webhook

Taken = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture
def taken(consortium: Consortium) -> Iterator[Taken]:
    """What the webhook is sent."""
    with webhook() as (url, taken):
        settle(consortium.home, webhook={"url": url})
        yield taken


def settle(home: Home, **notices: Any) -> None:
    path = home.folder / "consortium.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text("utf-8")) | {"notices": notices}), encoding="utf-8")


def told(home: Home, taken: Taken, now_s: float) -> list[str]:
    """What is sent now, the first of each text."""
    before = len(taken)
    assert send_notices(home, now_s) == ""
    return [content["text"].split("\n")[0] for _, content in taken[before:]]


def test_what_expires_is_told_once_for_each_of_the_days_and_again_after_it_was_renewed(
    consortium: Consortium, taken: Taken
) -> None:
    home, now = consortium.home, time.time()
    before = len([*home.log.lines()])
    assert told(home, taken, now) == []
    for days_on, words in ((340, "in 25 days"), (359, "in 6 days"), (364.5, "in 12 hours"), (366, "has expired")):
        (subject,) = told(home, taken, now + days_on * DAY_S)
        assert subject.startswith("pilot: The roster, without which no site answers, ")
        assert words in subject
        assert told(home, taken, now + days_on * DAY_S) == []
    membership.renew(home, 20, consortium.roots)
    assert "in 20 days" in told(home, taken, now)[0]
    membership.renew(home, 365, consortium.roots)
    assert told(home, taken, now) == []
    entries = [decode(line, number, "") for number, line in enumerate(home.log.lines())]
    sent = [entry.facts for entry in entries[before:] if entry.what == "notice sent"]
    assert sent == [{"by": "webhook", "about": "expiry"}] * len(taken)


def test_a_site_that_was_not_heard_for_a_day_and_a_run_that_waits_is_void_or_fails(
    consortium: Consortium, taken: Taken
) -> None:
    home, now = consortium.home, time.time()
    heard = home.live / "heard.json"
    write_json(heard, {"Lisbon": {"at_s": now - 2 * HOUR_S, "since_s": 0.0, "short": True}})
    assert told(home, taken, now) == []
    (subject,) = told(home, taken, now + DAY_S)
    assert subject.startswith("pilot: Site Lisbon: last heard")
    assert told(home, taken, now + 1.1 * DAY_S) == []  # the same silence
    heard.unlink()

    run = consortium.begun(consortium.plan())
    run.write_progress(ExchangeProgress("secagg/present", 1, ("Lisbon",), now, now + 9 * HOUR_S))
    assert told(home, taken, now + HOUR_S / 2) == []
    (subject,) = told(home, taken, now + HOUR_S)
    assert run.name in subject
    run.write_progress(ExchangeProgress("secagg/present", 2, (), now, now))
    record = {"seconds": 1.0, "at_s": now, "refused": {}, "void": True}
    lines = [json.dumps(record | {"round": number}) + "\n" for number in range(VOID_ROUNDS)]
    (run.folder / "rounds.jsonl").write_text("".join(lines), encoding="utf-8")
    (subject,) = told(home, taken, now)
    assert subject.startswith(f"pilot: The last {VOID_ROUNDS} rounds were void. Run {run.name}")
    run.end("failed", "two sites\nrefused")
    (subject,) = told(home, taken, now)
    assert subject == f"pilot: Run {run.name}: failed: two sites refused"
    assert told(home, taken, now) == []


def test_what_one_way_does_not_take_is_tried_again_by_that_way_alone(consortium: Consortium, taken: Taken) -> None:
    home, soon = consortium.home, time.time() + 364.5 * DAY_S
    with MailServer(turns_away=1) as server, webhook() as (url, posted):
        mail = {"host": "127.0.0.1", "port": server.port, "sender": "a@pilot.example", "to": ["b@pilot.example"]}
        settle(home, mail=mail | {"tls": "none"}, webhook={"url": url})
        assert "consortium.yaml: notices.mail: 'pilot: The roster" in send_notices(home, soon)
        assert send_notices(home, soon) == ""
        assert (len(server.mails), len(posted)) == (1, 1)
        assert "expires in" in str(server.mails[0]["Subject"])
    settle(home)
    assert send_notices(home, soon) == ""


def test_a_consortium_yaml_that_names_no_such_way_is_refused_with_the_key(tmp_path: Path) -> None:
    home = Consortium(tmp_path, ()).home
    settle(home, webhook={"url": "http://elsewhere.example/x"})
    assert "notices.webhook.url" in send_notices(home, time.time())
