"""A hospital's machine with system users of its own: the service, and people in a group that may come to its door."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GROUP, SERVICE, ANA, BEN, OUTSIDER = 61000, 61001, 61002, 61003, 61004
"""Numbers of no other users; the kernel knows no names."""


def interpreter() -> str | None:
    """A Python that other users may start; None: there is none."""
    for python in (sys.executable, "/usr/bin/python3.11", shutil.which("python3.11") or ""):
        try:
            subprocess.run(
                [python, "-c", "import cryptography"], check=True, capture_output=True, user=ANA, group=GROUP,
                extra_groups=[], cwd="/", env=environment(Path("/")),
            )  # fmt: skip
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


@contextmanager
def shared_place(prefix: str) -> Iterator[tuple[str, Path]]:
    """A Python that all users may start, and a folder that all may enter, until this ends."""
    if (python := interpreter()) is None:
        pytest.skip("SKIPPED LOUDLY: no Python 3.11 that other system users may start")
    place = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        place.chmod(0o755)
        yield python, place
    finally:
        shutil.rmtree(place)


def environment(home: Path) -> dict[str, str]:
    """Of a user whose home is this."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), "HOME": str(home), "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def give_away(path: Path, uid: int, group: int = GROUP, mode: int = 0o700) -> Path:
    """A path and all below it belong to a user."""
    for each in (path, *path.rglob("*")):
        os.lchown(each, uid, group)
    path.chmod(mode)
    return path


@dataclass
class Account:
    """A user's process."""

    process: subprocess.Popen[str]
    home: Path

    def give(self, *words: str | Path) -> tuple[Any, str, str]:
        """A command line; exit status, output and errors."""
        return self.do([str(word) for word in words])

    def do(self, order: list[str] | str) -> tuple[Any, str, str]:
        """A command line, or Python that leaves `result`."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        result, output, errors = json.loads(self.process.stdout.readline())
        return result, output, errors


@contextmanager
def account(python: str, uid: int, home: Path, *arguments: str, groups: tuple[int, ...] = ()) -> Iterator[Account]:
    """A user's process, until this ends."""
    process = subprocess.Popen(
        [python, "-m", "tests.access.account_process", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, user=uid, group=uid, extra_groups=groups, cwd=home, env=environment(home), umask=0o077,
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Account(process, home)
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()
