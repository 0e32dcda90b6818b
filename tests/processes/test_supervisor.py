"""The supervisor, with real processes."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from common.errors import RunError
from server.processes import output_log
from server.processes import supervisor as processes
from server.processes.process_table import process_states
from server.processes.supervisor import ManagedProcess, Supervisor

ROOT = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(600)"
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end children with their parent")


def python(name: str, program: str, ready: Callable[[], bool] | None = None) -> ManagedProcess:
    return ManagedProcess(name, (sys.executable, "-S", "-c", program), {}, ready)


@contextmanager
def running(children: list[ManagedProcess], folder: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(children, folder)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def turn_until(supervisor: Supervisor, happened: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline
        supervisor.turn(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(happened: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_child_starts_when_the_one_before_is_ready(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    first = python("first", f"import time; time.sleep(.3); open({str(ready)!r}, 'w'); time.sleep(600)", ready.exists)
    second = python(
        "second", f"import os; print('there already:', os.path.exists({str(ready)!r}), flush=True); {SLEEP}"
    )
    with running([first, second], tmp_path) as supervisor:
        turn_until(supervisor, lambda: "there already" in read(tmp_path / "second.log"))
    assert "there already: True" in read(tmp_path / "second.log")


def test_a_child_that_dies_is_started_again_at_once_and_then_ever_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "consilium"), running([python("a", "raise SystemExit(7)")], tmp_path) as s:
        turn_until(s, lambda: len(caplog.messages) >= 3)
    said = [m.partition(" ended ")[2] for m in caplog.messages[:3]]
    assert [m.partition("starts again ")[2] for m in said] == ["at once.", "in 0.5 s.", "in 1 s."]
    assert all(m.startswith("with status 7 after") for m in said)
    assert [min(0.5 * 2**n, processes.LONGEST_DELAY_S) for n in range(9)][-4:] == [10.0] * 4


def test_a_killed_child_comes_back_under_another_pid_and_status_says_so(tmp_path: Path) -> None:
    with running([python("a", SLEEP), python("b", SLEEP)], tmp_path) as supervisor:
        turn_until(supervisor, lambda: all(child.rss_bytes > 2**20 for child in process_states(tmp_path)))
        before = process_states(tmp_path)
        assert [child.name for child in before] == ["a", "b"]
        assert all(abs(time.time() - child.since_s) < 30 for child in before)
        os.kill(before[0].pid, signal.SIGKILL)
        turn_until(supervisor, lambda: process_states(tmp_path)[0].restarts == 1)
        after = process_states(tmp_path)
        assert after[0].pid not in {0, before[0].pid}
        assert after[1].pid == before[1].pid
    assert [(s.pid, s.rss_bytes) for s in process_states(tmp_path)] == [(0, 0), (0, 0)]


def test_stop_leaves_no_orphan_even_of_children_that_do_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.3)
    deaf = "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    deaf += f"p = [subprocess.Popen([sys.executable, '-S', '-c', {'import signal; signal.signal(15, 1);' + SLEEP!r}], "
    deaf += "start_new_session=own) for own in (True, False)]; print(*(q.pid for q in p), flush=True);" + SLEEP
    with running([python("a", deaf)], tmp_path) as supervisor:
        turn_until(supervisor, lambda: "\n" in read(tmp_path / "a.log"))
        below = [int(pid) for pid in read(tmp_path / "a.log").split()[1:]]
        everyone = [process_states(tmp_path)[0].pid, *below]
        assert len(everyone) == 3
        assert not any(map(gone, everyone))
    assert all(map(gone, everyone))


SUPERVISE = """
import sys, threading
from pathlib import Path
from server.processes.supervisor import ManagedProcess, Supervisor
Supervisor([ManagedProcess("a", (sys.executable, "-S", "-c", sys.argv[2]))], Path(sys.argv[1])).run(threading.Event())
"""


@linux
def test_children_die_with_a_killed_supervisor_and_the_next_start_ends_what_they_left(tmp_path: Path) -> None:
    orphan = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-c', {SLEEP!r}]);"
    orphan += "print(p.pid, flush=True); p.wait()"
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path), orphan], cwd=ROOT)
    wait_for(lambda: "\n" in read(tmp_path / "a.log"))
    child, below = process_states(tmp_path)[0].pid, int(read(tmp_path / "a.log").split()[1])
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: gone(child))
    assert not gone(below)
    with running([python("b", SLEEP)], tmp_path):
        wait_for(lambda: gone(below))


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-S", "-c", SLEEP])
    noted = {"name": "a", "pid": other.pid, "since_s": time.time() - 100, "restarts": 0, "rss_bytes": 0}
    (tmp_path / "processes.json").write_text(json.dumps([noted]), encoding="utf-8")
    with running([python("a", SLEEP)], tmp_path):
        assert other.poll() is None
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("content", ["", "[1]", '[{"name": 1, "no": 2}]', "{"])
def test_a_damaged_note_stops_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "processes.json").write_text(content, encoding="utf-8")
    with running([python("a", SLEEP)], tmp_path):
        assert process_states(tmp_path)[0].pid


def test_a_second_supervisor_of_one_folder_is_refused(tmp_path: Path) -> None:
    with running([python("a", SLEEP)], tmp_path):
        with pytest.raises(RunError, match="running already"):
            Supervisor([python("a", SLEEP)], tmp_path).start()
        assert not gone(process_states(tmp_path)[0].pid)


def test_a_child_that_keeps_dying_before_it_is_ready_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [python("a", SLEEP), python("b", "raise SystemExit('port taken')", lambda: False)], tmp_path
    )
    with pytest.raises(RunError, match=r"b: ended 3 times.*b\.log"):
        supervisor.start()
    assert "port taken" in read(tmp_path / "b.log")
    assert process_states(tmp_path)[0].pid == 0


def test_output_is_kept_with_its_time_without_colours_and_its_files_stay_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_log, "LOG_BYTES", 4000)
    program = (
        f"print('\\x1b[92mINFO\\x1b[0m é', flush=True); [print('x' * 50) for _ in range(500)]; print('end'); {SLEEP}"
    )
    with running([python("a", "import sys; sys.stdout.reconfigure(line_buffering=True);" + program)], tmp_path) as s:
        turn_until(s, lambda: "INFO é" in read(tmp_path / "a.log") or (tmp_path / "a.log.1").exists())
        turn_until(s, lambda: "end" in read(tmp_path / "a.log"))
    assert len(list(tmp_path.glob("a.log*"))) == 1 + output_log.LOG_FILES
    assert all(path.stat().st_size <= 4100 for path in tmp_path.glob("a.log*"))
    assert "\x1b" not in "".join(map(read, tmp_path.glob("a.log*")))
    assert read(tmp_path / "a.log")[:2] == "20"


@linux
def test_a_full_disk_does_not_end_what_keeps_the_others_alive(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to("/dev/full")
    with running([python("a", f"print('something', flush=True); {SLEEP}")], tmp_path) as supervisor:
        for _ in range(20):
            supervisor.turn(0.02)
        assert not gone(process_states(tmp_path)[0].pid)


def test_run_goes_on_until_it_is_told_to_stop(tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def watch() -> None:
        wait_for(lambda: any(child.pid for child in process_states(tmp_path)))
        seen.append(process_states(tmp_path)[0].pid)
        stop.set()

    threading.Thread(target=watch).start()
    Supervisor([python("a", SLEEP)], tmp_path).run(stop)
    assert gone(seen[0])


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
