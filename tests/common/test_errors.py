"""Every code and every cause that a person may meet has its place in docs/errors.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import errors, refusals
from common.cli.command import exit_status
from common.errors import ConfigError, ConsiliumError, IdentityError, PluginError, SecAggError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
BESIDE_THE_TREE = {"DISK", "DEFECT"}
"""What the operating system, or a fault of ours, is called."""


def family(root: type[ConsiliumError]) -> Iterator[type[ConsiliumError]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


def causes() -> set[str]:
    """All words that the code gives to a refusal."""
    names, found = {cls.__name__ for root in (SecAggError, PluginError) for cls in family(root)}, set()
    for path in (p for folder in ("client", "common", "server") for p in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                found |= {str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)}
    return found


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    codes = [cls.code for cls in family(ConsiliumError)]
    assert len(set(codes)) == len(codes)
    sections = re.findall(r"^## ([A-Z]+)$", PAGE, re.MULTILINE)
    assert set(sections) == {*codes, *BESIDE_THE_TREE}
    assert len(set(sections)) == len(sections)


def test_every_cause_is_on_the_public_list_and_every_word_of_the_list_a_cause() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    words = [code for code in refusals.CODES if not code.isupper()]
    assert set(words) == causes(), "a new word needs a line in common/refusals.csv; then python docs/generate.py"
    assert rows == words == sorted(words)


def test_every_code_is_on_the_public_list() -> None:
    listed = {code for code in refusals.CODES if code.isupper()}
    assert listed == {cls.code for cls in family(ConsiliumError)} | BESIDE_THE_TREE
    assert all(meaning.happened for meaning in refusals.CODES.values())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (IdentityError("bad-seal", "Mrs Smith"), "bad-seal"),
        (IdentityError("mrs-smith", "Mrs Smith"), "IDENTITY"),
        (ConfigError("Mrs Smith"), "CONFIG"),
        (FileNotFoundError("Mrs Smith"), "DISK"),
        (KeyError("Mrs Smith"), "DEFECT"),
    ],
)
def test_of_an_error_its_code_alone_is_told(error: Exception, code: str) -> None:
    assert refusals.code_of(error) == code
    assert refusals.public_code(code) == code


def test_what_is_on_no_list_is_not_shown() -> None:
    assert {refusals.public_code(text) for text in ("<script>", "", "Mrs Smith, row 3")} == {"WIRE"}


def test_every_class_is_drawn_in_the_tree() -> None:
    for cls in family(ConsiliumError):
        assert re.search(rf"\b{cls.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("x: y."), "error: x: y. [CONFIG: docs/errors.md]\n"),
        (IdentityError("bad-seal", "x."), "error: x. [IDENTITY, bad-seal: docs/errors.md]\n"),
        (FileNotFoundError(2, "No such file", "a/b"), "error: a/b: No such file. [DISK: docs/errors.md]\n"),
        (OSError("odd"), "error: a file: odd. [DISK: docs/errors.md]\n"),
    ],
)
def test_an_error_ends_in_its_code(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise error

    assert exit_status(run, "") == 2
    assert capsys.readouterr().err == said
