"""Every name that the documents mention exists: paths, functions, commands and their options, configuration keys.

The names that exist come from the code itself; nothing is listed here by hand. Only what a page shows as code is looked
at: what stands between backticks, and fenced blocks.
"""

import argparse
import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import flwr
import pytest
from pydantic import BaseModel

import client.__main__
import server.__main__
from common.cli.command import Command
from common.config import Config
from tests.house.documents import ROOT, blocks, created, pages, spans, tracked

ROOMS = sorted({name.partition("/")[0] for name in tracked() if "/" in name})
"""Folders of the top."""
PACKAGES = [room for room in ROOMS if (ROOT / room / "__init__.py").exists()]
PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]  # it tells of names that earlier releases had
PATH = re.compile(
    rf"(?<![\w/.~-])((?:{'|'.join(map(re.escape, ROOMS))})/[\w./*-]*[\w/*]|[\w-]+\.(?:py|md|yaml|toml|lock))"
    r"(?::([A-Za-z_][\w.]*))?"
)
CALL = re.compile(r"python -m (client|server)(?: +([^#\n`]*))?")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def code(page: Path) -> Iterator[str]:
    """What a page shows as code, line by line."""
    yield from spans(page)
    for block in blocks(page):
        yield from block.splitlines()


def named() -> Any:
    """One test for each page."""
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# --- paths, modules and what is in them -----------------------------------------------------------------------------


@named()
def test_every_path_exists(page: Path) -> None:
    missing = set()
    for path, _ in PATH.findall("\n".join(spans(page) + blocks(page))):
        near = [name for name in tracked() if "/" not in path and Path(name).name == path]
        if not near and not any(ROOT.glob(path.rstrip("/"))) and not (ROOT / "docs" / path).exists():
            missing.add(path)
    examples = " ".join(blocks(page))  # a page may tell its reader to write a file, and then use it
    missing = {path for path in missing if "/" in path or path not in examples}
    assert not {path for path in missing - created(page) if not is_written_by_the_program(path)}


def is_written_by_the_program(path: str) -> bool:
    """Whether the code itself names a file that is not of the repository, such as site.yaml."""
    return "/" not in path and path in all_code()


@named()
def test_every_function_that_stands_behind_its_file_exists(page: Path) -> None:
    odd = [
        f"{path}:{name}"
        for path, name in PATH.findall("\n".join(spans(page)))
        if name and not defines(ROOT / path, name)
    ]
    assert not odd


@named()
def test_every_module_and_attribute_exists(page: Path) -> None:
    dotted = re.compile(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)")
    found = {name for span in spans(page) for name in dotted.findall(span)}
    assert not [name for name in found if not resolves(name) and not (ROOT / name).exists() and name not in all_code()]


def defines(path: Path, name: str) -> bool:
    """Whether a file binds a name: `function`, `Class`, or `Class.method`."""
    if not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in name.split("."):
        matches = [node for node in body if part in bindings(node)]
        if not matches:
            return False
        body = getattr(matches[0], "body", [])
    return True


def bindings(node: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    if isinstance(node, ast.If):  # as of names that are imported when they are asked for
        return {name for inner in node.body for name in bindings(inner)}
    return {
        target.id for target in ast.walk(node) if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    }


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        module = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if module.is_file():
            return length == len(parts) or defines(module, ".".join(parts[length:]))
    return False


# --- commands -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def programs() -> dict[str, dict[str, argparse.ArgumentParser]]:
    """The parsers of all commands, by program and command."""
    return {"client": parsers(client.__main__.COMMANDS), "server": parsers(server.__main__.COMMANDS)}


def parsers(commands: Mapping[str, Command]) -> dict[str, argparse.ArgumentParser]:
    found = {}
    for name, command in commands.items():
        found[name] = argparse.ArgumentParser()
        command.arguments(found[name])
    return found


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Its options, those of its actions too."""
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        for below in subparsers(action).values():
            found |= options_of(below)
    return found


def actions_of(parser: argparse.ArgumentParser) -> set[str]:
    """The words that may follow the command's name."""
    return {str(choice) for action in parser._actions for choice in (action.choices or ())}


def subparsers(action: argparse.Action) -> dict[str, argparse.ArgumentParser]:
    choices = action.choices
    return (
        {k: v for k, v in choices.items() if isinstance(v, argparse.ArgumentParser)}
        if isinstance(choices, dict)
        else {}
    )


@named()
def test_every_command_and_option_exists(page: Path) -> None:
    odd = []
    for line in code(page):
        for program, rest in CALL.findall(line):
            odd += faults(program, re.split(r" {3,}| [&|;]|\$\(", rest)[0])
    examples = "\n".join(blocks(page))  # a page may tell its reader to write a command, and then use it
    assert not [command for command in odd if f'"{command.split()[-1]}": Command(' not in examples]


def faults(program: str, rest: str) -> list[str]:
    """What is wrong with a command line: `plans · approve PLAN` is two commands."""
    known, odd, parser = programs()[program], [], None
    for part in filter(None, (part.strip() for part in rest.split("·"))):
        word = part.split()[0]
        if word in known:
            parser = known[word]
        elif parser is None or word not in actions_of(parser):
            if re.fullmatch(r"[a-z][a-z-]+", word):
                odd.append(f"python -m {program} {word}")
            continue
        odd += [
            f"python -m {program} {word} {option}"
            for option in OPTION.findall(part)
            if option not in options_of(parser)
        ]
    return odd


@named()
def test_every_other_option_is_one_of_a_program(page: Path) -> None:
    known = {
        option for commands in programs().values() for parser in commands.values() for option in options_of(parser)
    }
    lines = [line for line in code(page) if not is_of_another_program(line)]
    odd = {option for line in lines for option in OPTION.findall(line) if option not in known}
    assert not {option for option in odd if option not in all_code() and option not in flower()}


@lru_cache(maxsize=1)
def flower() -> str:
    """The source of the installed Flower, whose options and names some pages mention."""
    folder = Path(flwr.__file__).parent
    return "\n".join([path.read_text(encoding="utf-8") for path in folder.rglob("*.py")])


def is_of_another_program(line: str) -> bool:
    """Whether a line of a page begins with a command that is not ours."""
    word = line.split()[0] if line.split() else ""
    ours = {name for commands in programs().values() for name in commands} | {"python", "make"}
    return bool(re.fullmatch(r"[a-z][a-z-]*", word)) and word not in ours


@named()
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert not {name for line in code(page) for name in re.findall(r"^make ([\w./-]+)", line)} - targets


# --- configuration --------------------------------------------------------------------------------------------------


@named()
def test_every_key_of_a_configuration_exists(page: Path) -> None:
    keys = re.compile(rf"(?<![\w./-])((?:{'|'.join(Config.model_fields)})(?:\.[a-z_]+)+)")
    mentioned = {key for line in code(page) for key in keys.findall(line)}
    files = {key for key in mentioned if any(Path(name).name == key for name in tracked()) or key in all_code()}
    assert not {key for key in mentioned - files if not is_key(Config, key.split("."))}


def is_key(model: type[BaseModel], parts: list[str]) -> bool:
    """Whether a key is one of a section, or of one of its sections."""
    if not parts:
        return True
    if parts[0] not in model.model_fields:
        return False
    below = list(sections(model.model_fields[parts[0]].annotation))
    return not parts[1:] or any(is_key(section, parts[1:]) for section in below)


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The classes in an annotation that hold further keys."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from sections(argument)


# --- all other words ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def all_code() -> str:
    """Everything that is tracked but the pages themselves and the scripts that write them."""
    texts = [
        ROOT / name
        for name in tracked()
        if not name.endswith((".md", ".svg", ".bin")) and (name.endswith(".py") or not name.startswith("docs/"))
    ]
    return "\n".join([*tracked(), *(path.read_text(encoding="utf-8", errors="ignore") for path in texts)])


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    return frozenset(word.strip("_") for word in WORD.findall(all_code()))


@named()
def test_every_word_between_backticks_is_found_in_the_code(page: Path) -> None:
    mentioned = [span for span in spans(page) if span not in created(page)]
    assert not {word for span in mentioned for word in WORD.findall(span) if not is_word(word.strip("_"), span)}


def is_word(word: str, span: str) -> bool:
    """Whether a word is one of the code, a part of one (`…like_this`), a name of Flower, or a placeholder (`NAME`)."""
    if word in words() or len(word) < 3 or re.fullmatch("[A-Z]+", word):
        return True
    text = all_code() if f"…{word}" in span or f"{word}…" in span else flower()
    return word in text
