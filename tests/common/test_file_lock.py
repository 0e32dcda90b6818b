"""A lock that processes and threads share."""

import subprocess
import sys
import threading
from pathlib import Path

from common.storage import file_lock

TAKE = """
import sys, time
from pathlib import Path
from common.storage import file_lock
with file_lock.hold(Path(sys.argv[1])):
    count = Path(sys.argv[2])
    seen = int(count.read_text())
    time.sleep(0.02)
    count.write_text(str(seen + 1))
"""


def test_processes_and_threads_take_turns(tmp_path: Path) -> None:
    lock, count = tmp_path / "lock", tmp_path / "count"
    count.write_text("0")

    def add() -> None:
        for _ in range(5):
            with file_lock.hold(lock):
                count.write_text(str(int(count.read_text()) + 1))

    others = [subprocess.Popen([sys.executable, "-c", TAKE, str(lock), str(count)], cwd=Path.cwd()) for _ in range(3)]
    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in others] == [0, 0, 0]
    assert count.read_text() == "18"


def test_it_is_seen_whether_a_file_system_keeps_others_out(tmp_path: Path) -> None:
    assert file_lock.excludes(tmp_path / "lock")
    with file_lock.hold(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()


def test_a_lock_that_is_waited_for_is_taken_once_it_is_free_and_not_before(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as two:
        assert file_lock.take(one)
        assert not file_lock.take(two)
        assert not file_lock.take(two, 0.05)
        threading.Timer(0.1, one.close).start()
        assert file_lock.take(two, 10)
