"""Pages that are written from the code are what the code says, and what stands in several places is the same in all."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from common.trust.release import VERSION

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["generate.py", "layout.py", "diagrams.py", "draw_round.py"])
def test_a_page_that_is_written_from_the_code_is_what_the_code_says(script: str) -> None:
    done = subprocess.run(
        [sys.executable, f"docs/{script}", "--check"], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


def test_the_page_on_one_round_has_the_stops_of_its_picture() -> None:
    page = (ROOT / "docs" / "round.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\d+)\. (.+)$", page, re.MULTILINE)
    assert headings == [(str(number), title) for number, title in enumerate(script("draw_round").STOPS, 1)]


def test_every_stop_names_a_process_the_code_the_network_and_the_protection() -> None:
    page = (ROOT / "docs" / "round.md").read_text(encoding="utf-8")
    for stop in re.split(r"^## (?=\d+\. )", page, flags=re.MULTILINE)[1:]:
        text = stop.partition("\n## ")[0]
        assert re.search(r"^\*[A-Z][^*]+\.?\*", text, re.MULTILINE), "no process"
        assert re.search(r"`[\w/]+\.py", text), "no code"
        assert "**Over the network:**" in text
        assert "**Protection:**" in text


def test_a_concept_of_the_design_page_stands_where_the_page_says() -> None:
    page = (
        (ROOT / "docs" / "design.md")
        .read_text(encoding="utf-8")
        .partition("## The concepts")[2]
        .partition("\n\nEver")[0]
    )
    for row in page.splitlines():
        cells = row.split("|")
        if "`" in row:
            text = "".join(file.read_text(encoding="utf-8") for path in names(cells[-2]) for file in files(ROOT / path))
            assert not [name for name in names(cells[1]) if f"class {name}" not in text], row


def names(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def files(path: Path) -> list[Path]:
    """A file, or all of a room."""
    return sorted(path.glob("*.py")) if path.is_dir() else [path]


def test_the_page_on_the_gateway_names_every_address_that_it_answers() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "server" / "gateway").glob("*.py"))
    page = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `") and "/v1/consilium/" in row]
    named = {cell.rpartition("/")[2] for row in rows for cell in names(row)}
    assert named == set(re.findall(r"(?:/v1/consilium/|\{[A-Z]+\})([a-z]+)", code))


def test_the_release_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert {VERSION, project["version"], citation["version"], newest[1]} == {VERSION}
    assert citation["license"] == project["license"]


def test_the_changelog_sorts_every_line_under_one_of_four_words() -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) <= {"Added", "Changed", "Fixed", "Security"}


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
