"""What a package's docstring says of its modules, in a list or with arrows: every module that it names is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.documents import ROOT, tracked

PACKAGES = [
    ROOT / name
    for name in tracked()
    if name.endswith("/__init__.py") and name.partition("/")[0] in ("client", "common", "server", "simulation")
]
LISTED = re.compile(r" *([a-z_]+(?:, [a-z_]+)*)  +\S")
"""A line of a list: one module, or several, and after two blanks what they are for."""


def named_modules(line: str) -> set[str]:
    """The modules that a line names."""
    if "──" in line:
        left = re.split(r"(?<=[a-z_])  +(?=[^\W_]|`)", re.sub(r"\([^)]*\)", "", line))[0]
        return set(re.findall(r"[a-z_]+", left))
    return set(listed[1].split(", ")) if (listed := LISTED.match(line)) else set()


@pytest.mark.parametrize("file", PACKAGES, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_a_packages_map_names_modules_that_exist(file: Path) -> None:
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    modules = {path.stem for path in file.parent.glob("*.py")} | {path.name for path in file.parent.iterdir()}
    assert {name for line in doc.splitlines()[1:] for name in named_modules(line)} - modules == set()


def test_a_module_that_is_gone_would_be_found() -> None:
    assert named_modules("vault ──> shelf, page     what they do") == {"vault", "shelf", "page"}
    assert named_modules("    one, two     what they do") == {"one", "two"}
    assert named_modules("Several runs beside each other.") == set()
