"""The programs as a script calls them: their output goes to a pipe."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRESH = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""
"""Starts a program as a terminal does: a shell lets what it runs behind the scenes ignore Ctrl-C, these tests too."""


def piped(program: str, *arguments: object, columns: str = "40", status: int = 0) -> str:
    """What a command writes to a pipe, on a machine whose terminal has so many columns."""
    command, env = [sys.executable, "-m", program, *map(str, arguments)], {**os.environ, "COLUMNS": columns}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, stdin=subprocess.DEVNULL, env=env, encoding="utf-8")
    assert done.returncode == status, done.stderr
    return done.stdout
