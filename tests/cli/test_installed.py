"""As an installed release: one program, units that systemd takes, and every file that is read while it runs."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import consilium
from client.__main__ import main as client
from common.cli.systemd_unit import ServiceUnit
from common.trust.release import VERSION, own_digest
from server.__main__ import main as server

ROOT = Path(__file__).parents[2]
MAINS = {"client": client, "server": server}


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["consilium", *words])
    return consilium.main()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git has, without an index."""
    tree = tmp_path_factory.mktemp("tree") / "consilium"
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if not name.startswith(("tests/", "benchmarks/")) and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    out = tree.parent / "wheel"
    build = ["-m", "pip", "--isolated", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([sys.executable, *build, "-w", out, "."], cwd=tree, check=True)
    (found,) = out.glob("*.whl")
    return found


def test_a_wheel_has_every_file_that_the_checkout_s_rooms_have(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    rooms = ("client", "server", "common", "simulation")
    wanted = {
        path.relative_to(ROOT).as_posix() for room in rooms for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert wanted <= names
    data = {name.partition(".data/data/")[2] for name in names}
    assert {"share/consilium/configs/plan-template.yaml", "share/doc/consilium/docs/errors.md"} <= data
    assert not {name.split("/")[0] for name in names} & {"tests", "benchmarks", "docs", "build"}


def test_an_unpacked_wheel_is_the_same_code_for_plans_and_runs_in_any_folder(wheel: Path, tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "lib", tmp_path / "else where"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    assert own_digest(place) == own_digest(ROOT)
    code = f"import sys; sys.path.insert(0, {str(place)!r}); import consilium; consilium.run()"
    command = [sys.executable, "-P", "-c", code, "client", "init", "lisbon"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "site" / "lisbon.request").exists()


def test_the_program_says_its_release(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        typed(monkeypatch, "--version")
    assert capsys.readouterr().out == f"consilium {VERSION}\n"


def test_the_program_hands_the_rest_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "server", "status", "--home", "/nowhere") == 2
    assert "[CONFIG: docs/errors.md]" in capsys.readouterr().err


def test_a_shell_completes_actions_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert typed(monkeypatch, "completion", "bash") == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    ask = (
        f"source {str(script)!r}; COMP_WORDS=(consilium client pacs f); COMP_CWORD=3; "
        "_shtab_consilium; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["find"]


@pytest.mark.parametrize("who", MAINS)
def test_print_shows_a_unit_and_writes_nothing(
    who: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert MAINS[who](["install-service", "--print", "--home", "a folder"]) == 0
    said = capsys.readouterr().out
    assert f'--home "{tmp_path}/a folder"' in said or f'--home "{tmp_path}' in said
    assert "CapabilityBoundingSet=\n" in said
    assert not list(tmp_path.iterdir())
    if analyse := shutil.which("systemd-analyze"):
        unit = tmp_path / "consilium.service"
        unit.write_text(said, encoding="utf-8")
        checked = subprocess.run([analyse, "verify", unit], capture_output=True, encoding="utf-8")
        assert (checked.returncode, checked.stderr) == (0, "")
        judged = subprocess.run(
            [analyse, "security", "--offline=true", unit], capture_output=True, encoding="utf-8"
        ).stdout
        (exposure,) = re.findall(r"Overall exposure level for \S+ ([\d.]+)", judged)
        assert float(exposure) < 2.0


def test_what_systemd_would_replace_is_left_as_it_is() -> None:
    home = Path('/srv/a $HOME %h "b"')
    text = ServiceUnit("site", "Consilium site", ("client", "run", "--home", str(home)), home, "consilium").text()
    assert '--home "/srv/a $$HOME %%h \\"b\\""' in text
    assert 'WorkingDirectory=/srv/a $HOME %%h "b"\n' in text


def test_a_name_of_a_unit_is_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert client(["install-service", "--name", "../x", "--print"]) == 2
    assert "small letters" in capsys.readouterr().err
