"""What a command does not need is not imported for it: a help is there at once, a status soon."""

import subprocess
import sys
from pathlib import Path

import pytest

from client import __main__ as hospital
from common.cli.command import CommandTable
from server import __main__ as coordinator
from tests.consortium.consortium import Consortium

ROOT = Path(__file__).parents[2]
HEAVY = {"tensorflow", "flwr", "sklearn", "scipy", "matplotlib", "cv2", "starlette", "httpx", "pydicom", "onnx", "h5py"}
LIGHT = HEAVY | {"numpy", "pydantic", "rich", "yaml", "cryptography"}


def loaded(who: str, *arguments: str | Path) -> set[str]:
    """The packages that a command has imported when it ends."""
    code = (
        "import sys\n"
        f"from {who} import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL)
    assert done.stdout, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("who", ["client.__main__", "server.__main__", "simulate"])
def test_the_first_help_needs_python_alone(who: str) -> None:
    assert not loaded(who, "--help") & LIGHT


@pytest.mark.parametrize("name", ["status", "history", "health"])
def test_what_is_asked_many_times_a_day_brings_no_array_while_no_run_goes_on(name: str, tmp_path: Path) -> None:
    home = Consortium(tmp_path).home.folder
    assert not loaded("server.__main__", name, "--home", home) & (HEAVY | {"numpy", "safetensors"})


@pytest.mark.parametrize("name", ["plans", "approve", "run", "access", "custody"])
def test_a_site_s_help_reads_no_image(name: str) -> None:
    assert not loaded("client.__main__", name, "--help") & HEAVY


@pytest.mark.parametrize("commands", [hospital.COMMANDS, coordinator.COMMANDS])
def test_every_command_is_where_the_table_says(commands: CommandTable) -> None:
    assert all(commands[name].teaching for name in commands)
