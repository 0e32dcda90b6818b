"""What is known of a site, and how soon."""

import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from common.storage.files import write_json
from server.dashboard import live_page
from server.runs import run_display
from server.runs.status import Connection, site_statuses
from tests.consortium.consortium import Consortium
from tests.dashboard.served import alive


@pytest.mark.parametrize(
    ("heard", "said", "link"),
    [
        (None, {}, "away"),
        ({"ago": 60}, {"what": "waiting"}, "away"),
        ({"ago": 1}, {"what": "waiting"}, "connected"),
        ({"ago": 9}, {"what": "waiting"}, "silent"),
        ({"ago": 9}, {"what": "working"}, "connected"),
        ({"ago": 9, "short": False}, {"what": "waiting"}, "connected"),
        ({"ago": 2, "lost": 2}, {"what": "working"}, "lost"),
        ({"ago": 2, "lost": 0.2}, {"what": "working"}, "connected"),
        ({"ago": 2, "lost": 2, "short": False}, {"what": "waiting"}, "connected"),
        ({"ago": 60, "lost": 59}, {"what": "working"}, "away"),
        ({"ago": 1, "lost": 3}, {"what": "stopped", "ago": 1}, "stopped"),
        ({"ago": 1}, {"what": "stopped", "ago": 30}, "connected"),
    ],
)
def test_a_site_is_what_its_line_and_its_words_make_it(
    consortium: Consortium, heard: dict[str, Any] | None, said: dict[str, Any], link: Connection
) -> None:
    home, now = consortium.home, time.time()
    told = {}
    if heard is not None:
        told = {"at_s": now - heard["ago"], "since_s": now - 99, "short": heard.get("short", True)}
        told |= {"lost_s": now - heard["lost"]} if "lost" in heard else {}
    write_json(home.live / "heard.json", {"Osaka": told} if told else {})
    write_json(home.live / "doing" / "Osaka.json", {"at_s": now - said.get("ago", 5), **said} if said else {})
    (found,) = [one for one in site_statuses(home) if one.site == "Osaka"]
    assert found.connection == link
    assert found.is_connected == (link in ("connected", "silent"))


def test_the_status_of_the_terminal_says_the_same(consortium: Consortium) -> None:
    alive(consortium.home, Osaka=3.0)
    said = io.StringIO()
    run_display.status(consortium.home, Console(file=said, width=200))
    assert re.search(r"no, lost its line, last heard [3-9] s ago", said.getvalue())


def test_a_listener_is_told_what_matters_and_no_time_that_runs(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    alive(consortium.home, Osaka=3.0)
    first = live_page.PageContent.at(consortium.home)
    assert first.announcement == f"Run {run.name} running. Not there: Osaka."
    time.sleep(1.1)
    again = live_page.PageContent.at(consortium.home)
    assert again.announcement == first.announcement
    assert again.html_parts["sites"] != first.html_parts["sites"]
    assert live_page.PageContent.at(consortium.home, run.name).title == first.title
