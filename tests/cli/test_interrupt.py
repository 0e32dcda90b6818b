"""Ctrl-C at any moment ends a long command with exit status 130 and a line, and never with a traceback."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.cli import interrupt
from common.cli.command import exit_status
from tests.cli.piping import FRESH, ROOT
from tests.consortium.consortium import Consortium

WAIT_S = 120
LONG = {
    "page": ["-m", "server", "dashboard", "--port", "0", "--home", "consortium"],
    "coordinator": ["-m", "server", "start", "--home", "consortium"],
    "site": ["-m", "client", "run", "--home", "Lisbon"],
    "simulation": [str(ROOT / "simulate.py"), str(ROOT / "configs/demo-svm.yaml"), "--out", "run"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Consortium(tmp_path_factory.mktemp("life"), ("Lisbon",)).folder


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program; what it prints comes by its standard error stream."""
    command = [sys.executable, "-c", FRESH, "-u", *arguments]
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupted(process: subprocess.Popen[str]) -> str:
    """Ctrl-C; what the program says after it."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == interrupt.STATUS, said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return said


@pytest.mark.parametrize("modules", [1, 60, 300, 700])
@pytest.mark.parametrize("name", list(LONG))
def test_while_a_program_is_imported_and_begins(name: str, modules: int, folder: Path) -> None:
    with running(folder, "-X", "importtime", *LONG[name]) as process:
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        next(line for line in lines if line.endswith("common.cli.interrupt\n"))
        for _ in range(modules):
            next(lines, "")
        assert "interrupted; " in interrupted(process)


def test_while_a_simulation_trains(folder: Path, tmp_path: Path) -> None:
    with running(folder, *LONG["simulation"][:-1], str(tmp_path / "run")) as process:
        until_written(tmp_path / "run" / "log.txt")
        assert "--resume goes on from the last round" in interrupted(process)


def until_written(path: Path) -> None:
    pause = threading.Event()
    for _ in range(10 * WAIT_S):
        if path.exists() and path.stat().st_size:
            return
        pause.wait(0.1)
    raise TimeoutError(path)


def test_while_a_site_looks_for_its_coordinator(folder: Path) -> None:
    with running(folder, *LONG["site"]) as process:
        assert process.stderr
        assert any("takes part in pilot" in line for line in iter(process.stderr.readline, ""))
        assert "the site has said goodbye" in interrupted(process)


def test_once_more_while_threads_come_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(
        "import sys, threading, time\nfrom common.cli import interrupt\ninterrupt.arm()\n"
        "from common.cli.command import exit_status\n"
        "def run():\n    threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    print('ready', file=sys.stderr)\n    threading.Event().wait()\n"
        "interrupt.program(lambda: exit_status(run, 'over.'))\n",
        encoding="utf-8",
    )
    with running(tmp_path, "p.py") as process:
        assert process.stderr
        assert "ready" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert re.search("interrupted; over", process.stderr.readline() + process.stderr.readline())
        interrupted(process)


def test_an_interrupt_that_became_another_error_is_an_interrupt(
    capsys: pytest.CaptureFixture[str], at_a_terminal: None
) -> None:
    def run() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("as NumPy says when it is interrupted") from None
        return 0

    assert exit_status(run, "nothing.") == interrupt.STATUS
    assert "interrupted; nothing." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_in_a_destructor_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(
        "import signal, threading\nfrom common.cli import interrupt\ninterrupt.arm()\n"
        "from common.cli.command import exit_status\n"
        "class Last:\n    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "def run():\n    Last()\n    threading.Event().wait(2)\n    return 0\n"
        "interrupt.program(lambda: exit_status(run, 'over.'))\n",
        encoding="utf-8",
    )
    with running(tmp_path, "p.py") as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert (process.returncode, said) == (interrupt.STATUS, "\ninterrupted; over.\n")


def test_an_interrupt_in_text_that_is_executed_has_the_same_status(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(
        "from common.cli import interrupt\ninterrupt.arm()\nfrom common.cli.command import exit_status\n"
        "def run():\n    exec('import signal; signal.raise_signal(signal.SIGINT)')\n"
        "interrupt.program(lambda: exit_status(run, 'over.'))\n",
        encoding="utf-8",
    )
    with running(tmp_path, "-m", "p") as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert (process.returncode, said) == (interrupt.STATUS, "\ninterrupted; over.\n")
