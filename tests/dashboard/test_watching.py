"""Health, metrics and the log as lines: what a machine asks of both sides, and what it must not learn."""

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from client.__main__ import main as client
from client.home import SiteFolder
from common.audit.entries import Entry
from common.audit.log_lines import as_syslog
from common.monitoring import disk_space
from common.storage.files import write_json
from server.__main__ import main as server
from server.runs import service_state
from tests.consortium.consortium import Consortium
from tests.dashboard.served import Page, alive
from tests.deployment.federation import free_port

ROOT = Path(__file__).parents[2]


def health(capsys: pytest.CaptureFixture[str], main: object, home: Path) -> tuple[int, dict[str, str]]:
    """The exit status, and what was said under each title."""
    capsys.readouterr()
    code = main(["health", "--json", "--home", str(home)])  # type: ignore[operator]
    told = json.loads(capsys.readouterr().out)
    assert told["level"] == code
    return code, {row["check"]: row["what"] for row in reversed(told["checks"])}


def test_a_coordinator_that_is_not_running_is_wrong(
    made: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made.folder, tmp_path / "life")
    code, told = health(capsys, server, made.at(tmp_path / "life").home.folder)
    assert code == 2
    assert "are not running" in told["service"]


def test_one_at_work_is_in_order_and_a_site_that_is_away_is_to_be_looked_at(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health(capsys, server, consortium.home.folder)[0] == 0
    alive(consortium.home, Osaka=500.0)
    code, told = health(capsys, server, consortium.home.folder)
    assert code == 1
    assert "Osaka" in told["sites"]


def test_what_keeps_the_runs_waiting_is_said_by_health_and_status(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    home, problem = consortium.home, "/srv/runs/state.json: No space left on device"
    write_json(home.live / "keeper.json", {"at_s": time.time() + 300, "problem": problem})
    code, told = health(capsys, server, home.folder)
    assert (code, problem in told["service"]) == (2, True)
    assert server(["status", "--home", str(home.folder)]) == 0
    assert f"The runs cannot be looked after: {problem}." in capsys.readouterr().out


def test_a_full_disk_is_called_one(
    consortium: Consortium, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_state, "LEAST_BYTES", 2**60)
    monkeypatch.setattr(disk_space, "LEAST_BYTES", 2**60)
    code, told = health(capsys, server, consortium.home.folder)
    assert code == 2
    assert "is full" in told["service"]
    assert told["disk"].startswith("the disk is full")


def test_a_site_s_health_follows_its_resident_process(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    home = SiteFolder(consortium.folder / "Lisbon")
    code, told = health(capsys, client, home.folder)
    assert (code, told["resident process"]) == (2, "the resident process is not running")
    write_json(home.resident, {"at_s": time.time() + 300, "what": "idle", "problem": ""})
    assert health(capsys, client, home.folder)[0] == 0
    write_json(home.resident, {"at_s": time.time() + 300, "what": "connecting", "problem": "cannot be reached."})
    code, told = health(capsys, client, home.folder)
    assert (code, told["resident process"]) == (2, "cannot be reached")


def printed(capsys: pytest.CaptureFixture[str], main: object, home: Path) -> str:
    capsys.readouterr()
    assert main(["metrics", "--print", "--home", str(home)]) == 0  # type: ignore[operator]
    return capsys.readouterr().out


def test_metrics_are_as_prometheus_wants_them_and_all_in_the_page(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    run = consortium.begun(consortium.plan(), *("Lisbon", "Nairobi", "Osaka"))
    told = {
        "server": printed(capsys, server, consortium.home.folder),
        "client": printed(capsys, client, consortium.folder / "Lisbon"),
    }
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for text in told.values():
        families = list(text_string_to_metric_families(text))
        assert not [family.name for family in families if f"`{family.name}`" not in page]
        assert all(family.documentation for family in families)
        if promtool := shutil.which("promtool"):
            checked = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True)
            assert (checked.returncode, checked.stderr) == (0, b"")
    assert 'consilium_site_connected{site="Osaka"} 1.0' in told["server"]
    assert f'consilium_run_rounds{{run="{run.name}"}} 0.0' in told["server"]
    assert 'consilium_plans{state="undecided"} 0.0' in told["client"]


def test_no_site_has_a_number_but_when_it_was_heard(consortium: Consortium, capsys: pytest.CaptureFixture[str]) -> None:
    families = text_string_to_metric_families(printed(capsys, server, consortium.home.folder))
    of_a_site = {sample.name for family in families for sample in family.samples if "site" in sample.labels}
    assert of_a_site == {"consilium_site_connected", "consilium_site_heard_timestamp_seconds"}


def test_metrics_are_served_on_loopback_and_read_anew(consortium: Consortium) -> None:
    from common.monitoring import metric_page
    from server.monitoring.coordinator_samples import samples

    registry = metric_page.CollectorRegistry(auto_describe=False)
    registry.register(metric_page.SampleCollector(lambda: samples(consortium.home)))
    port = free_port()
    http, thread = metric_page.start_http_server(port, metric_page.LOOPBACK, registry)
    try:
        assert http.server_address[0] == "127.0.0.1"
        for lost, connected in ((0.0, "3.0"), (500.0, "2.0")):
            alive(consortium.home, **({"Osaka": lost} if lost else {}))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
            values = re.findall(r"consilium_site_connected\{.*?\} (\S+)", text)
            assert str(sum(map(float, values))) == connected
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
    assert not [one for one in threading.enumerate() if one is thread]


# --- the log as lines -----------------------------------------------------------------------------------------------

SYSLOG = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) "
    r'\[consilium@32473(?: [^\s="\]]{1,32}="(?:[^"\\\]]|\\["\\\]])*")+\] \S.*'
)


def test_every_entry_is_a_line_of_json_or_syslog_and_a_collector_goes_on(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    home = consortium.home
    home.log.record("revoke", "failed", facts={"site": "Osaka"})
    count = sum(1 for _ in home.log.lines())
    for name, after in (("json", -1), ("syslog", -1), ("json", count - 2)):
        capsys.readouterr()
        shown = ["audit", "show", "--lines", name, "--after", str(after), "--home", str(home.folder)]
        assert server(shown) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == count - after - 1
        for line in lines:
            assert json.loads(line)["number"] > after if name == "json" else SYSLOG.fullmatch(line)
    assert json.loads(lines[-1])["facts"] == {"site": "Osaka"}


def test_nothing_in_an_entry_ends_its_line_or_its_field() -> None:
    entry = Entry(number=1, at_s=0.5, what="a b=c", outcome="failed", facts={"x y": "1", "z": "$(a)"})
    line = as_syslog(entry.model_copy(update={"user": 'a"]\nb\\'}), "site")
    assert "\n" not in line
    assert SYSLOG.fullmatch(line)
    assert line.startswith("<108>1 1970-01-01T00:00:00.500Z ")
    assert 'user="a\\"\\] b\\\\"' in line


# --- the page -------------------------------------------------------------------------------------------------------


def test_an_address_without_a_page_has_a_page_that_says_so(page: Page) -> None:
    with page.inside() as visitor:
        answer = visitor.get("/nowhere")
    assert answer.status_code == 404
    assert "There is no page at this address." in answer.text
    assert "<h1>Not there</h1>" in answer.text


def test_the_errors_have_an_index_whose_links_lead_to_them(page: Page) -> None:
    with page.inside() as visitor:
        text = visitor.get("/errors").text
    links = re.findall(r'href="#([^"]+)"', text)
    assert {"CONFIG", "DISK", "POLICY"} <= set(links)
    assert all(f'id="{link}"' in text for link in links)
