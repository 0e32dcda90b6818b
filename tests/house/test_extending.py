"""`docs/extending.md`, followed word for word in a copy of the tree: what the page adds runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("client", "server", "common", "simulation", "benchmarks", "configs", "docs", "tests")
COPIED = (*ROOMS, "consilium.py", "simulate.py", "pyproject.toml")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:In|Create)\s`([\w/.-]+)`:\s*$")


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """The page's blocks of code in their order: the file that each is about, its language, its lines."""
    path = ""
    end = 0
    for block in BLOCK.finditer(page):
        if match := NAMED.search(page[end : block.start()]):
            path = match[1]
        yield path, block[1], block[2]
        end = block.end()


def change(path: Path, difference: str) -> None:
    """Apply lines that begin with `+`, `-` or a blank; what they are to replace occurs once in the file."""
    lines = difference.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} has {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def execute(line: str, tree: Path) -> str:
    """A command line of the page, and what it prints."""
    program, *arguments = shlex.split(line)
    assert program == "python", line
    # pip is to need no network, and to leave the environment that tests this as it is.
    pip = {
        "PIP_TARGET": str(tree / "installed"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
    }
    environment = {**os.environ, **pip, "COLUMNS": "200", "PYTHONPATH": str(tree / "installed")}
    done = subprocess.run([sys.executable, *arguments], cwd=tree, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The copy after the whole page, and what each command line printed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    outputs: dict[str, str] = {}
    for path, language, text in blocks((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")):
        if language == "bash":
            outputs |= {line: execute(line, tree) for line in text.splitlines()}
        elif language == "diff":
            change(tree / path, text)
        else:
            assert not (tree / path).exists(), f"{path} is there already: the page wants another name"
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text, encoding="utf-8")
    return tree, outputs


def result(tree: Path, run: str) -> Any:
    return json.loads((tree / "runs" / run / "result.json").read_text(encoding="utf-8"))


def test_the_wheel_of_the_page_runs_in_a_simulation_with_all_its_parts(printed: tuple[Path, dict[str, str]]) -> None:
    outcome = result(printed[0], "plugin")
    (_, step, *_), model = outcome["config"]["preprocess"], outcome["config"]["model"]
    assert (step["value"], model["filters"], model["part"]["version"]) == (0.5, 6, "1.0")
    assert step["part"]["sha256"] == model["part"]["sha256"] == outcome["config"]["federation"]["part"]["sha256"]
    assert [record["void"] for record in outcome["rounds"]] == [False, False]
    assert isinstance(outcome["rounds"][-1]["validation"]["consilium-example:kappa"], float)


def test_the_contract_tests_ran_over_the_wheels_parts_alone(printed: tuple[Path, dict[str, str]]) -> None:
    assert re.search(r"^=* ?\d+ passed in", printed[1]["python -m pytest --plugin consilium-example"], re.MULTILINE)


def test_the_model_of_the_page_learns_under_secure_aggregation(printed: tuple[Path, dict[str, str]]) -> None:
    outcome = result(printed[0], "softmax")
    assert outcome["config"]["model"] == {"kind": "softmax", "multilabel": False, "decay": 0.001}
    assert outcome["secure_aggregation"]["on"]
    assert outcome["sites_mean"]["federated"]["auc"] > 0.5
    assert "a model of kind softmax" in (printed[0] / "runs" / "softmax" / "report.html").read_text(encoding="utf-8")


def test_the_command_of_the_page_says_what_the_site_has(printed: tuple[Path, dict[str, str]]) -> None:
    assert "python -m client datasets --home site" in printed[1]


def test_the_page_of_keys_has_what_was_added(printed: tuple[Path, dict[str, str]]) -> None:
    page = (printed[0] / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert "## model, kind: softmax" in page


def test_the_code_of_the_page_passes_the_linter(printed: tuple[Path, dict[str, str]]) -> None:
    for command in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command], cwd=printed[0], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
