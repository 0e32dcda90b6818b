"""What the installed Flower must have: each test says what is missing, and which of our files relies on it.

Nothing of `client` and `server` is imported here: when Flower has changed they may not even load. Names of Flower are
looked up by the tests, one by one, so that one which is missing fails one test. The tables: flower_contract.py; how
Flower must behave: test_flower_behaviour.py; what to do about a failure: docs/next-flower.md.
"""

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest

from tests.flower.flower_contract import (
    CALLS,
    ENVIRONMENT,
    FIELDS,
    NAMES,
    PROGRAMS,
    ROOT,
    VALUES,
    broken,
    flower,
    importers,
    inner_imports,
    sources,
    users,
)


def rows(table: Mapping[str, Any]) -> list[Any]:
    """Module and entry, for a test each."""
    pairs = [(module, entry) for module, entries in table.items() for entry in _entries(entries)]
    return [pytest.param(module, entry, id=f"{module}:{entry}".replace(" ", "-")) for module, entry in pairs]


def _entries(entries: Any) -> list[str]:
    return entries.split() if isinstance(entries, str) else list(entries)


# --- the tables -----------------------------------------------------------------------------------------------------


def test_every_inner_import_of_ours_stands_in_the_table() -> None:
    imports: dict[str, set[str]] = {}
    for source in sources().values():
        for module, names in source.inner.items():
            imports.setdefault(module, set()).update(names)
    table = {module: set(names.split()) for module, names in NAMES.items()}
    for module, names in imports.items():
        missing = names - table.get(module, set())
        assert not missing, (
            f"{module}: {missing}, imported by {importers(module)}, belongs in NAMES of flower_contract.py"
        )
    for module, names in table.items():
        left_over = names - imports.get(module, set())
        assert not left_over, f"{module}: {left_over} is imported by nothing of ours any more; take it out of NAMES"


def test_an_import_is_seen_wherever_it_stands() -> None:
    text = "import flwr.cli.run\nfrom flwr.app import Message\ndef f():\n    from flwr.app.message import a as b\n"
    assert inner_imports(text) == {"flwr.cli.run": set(), "flwr.app.message": {"a"}}


def test_one_release_is_named_everywhere() -> None:
    written = re.compile(r"""(?:flwr(?:\[simulation\])?==|^FLOWER = ")(\d+[\d.]*\d)""", re.MULTILINE)
    folders = [path for top in ("client", "server", "tests", "docs") for path in (ROOT / top).rglob("*.*")]
    texts = [path for path in folders if path.suffix in (".py", ".md")]
    for path in [*texts, ROOT / "pyproject.toml", *ROOT.glob("*.lock")]:
        others = set(written.findall(path.read_text())) - {version("flwr")}
        assert not others, f"{path.relative_to(ROOT)} names flwr {others}; installed is {version('flwr')}"
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"flwr=={version('flwr')}" in pins


# --- names, calls, fields, values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name"), rows(NAMES))
def test_a_name_that_we_import_is_there(module: str, name: str) -> None:
    flower(module, name)


@pytest.mark.parametrize(("module", "call"), rows(CALLS))
def test_a_function_takes_what_we_call_it_with(module: str, call: str) -> None:
    name, count, *keywords = call.split()
    function = flower(module, name)
    try:
        inspect.signature(function).bind(*range(int(count)), **dict.fromkeys(keywords))
    except TypeError as error:
        last = name.split(".")[-1]
        broken(f"`{module}.{name}{inspect.signature(function)}`: {error}; we call it as `{call}`.", users(last))


@pytest.mark.parametrize(("module", "message"), rows(FIELDS))
def test_a_protobuf_message_has_the_fields_that_we_read_and_write(module: str, message: str) -> None:
    fields = flower(module, message).DESCRIPTOR.fields_by_name
    for name, number in (field.split("=") for field in FIELDS[module][message].split()):
        if name not in fields:
            broken(f"`{module}.{message}` has no field `{name}`.", users(name))
        if fields[name].number != int(number):
            broken(
                f"`{module}.{message}.{name}` is field {fields[name].number}, it was {number}: what a site has in its "
                "journal cannot be read.", users(name),
            )  # fmt: skip


@pytest.mark.parametrize(("module", "name"), rows(VALUES))
def test_a_constant_is_what_ours_say_or_what_is_on_the_wire(module: str, name: str) -> None:
    value, before = flower(module, name), VALUES[module][name]
    if value != before:
        broken(f"`{module}.{name}` is {value!r}, it was {before!r}.", users(name.split(".")[-1]) or users(str(before)))


# --- programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_installed_and_takes_our_options(name: str) -> None:
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        broken(f"no program `{name}` is installed.", users(name))
    help_text = subprocess.run([program, "--help"], capture_output=True, encoding="utf-8").stdout
    for option in PROGRAMS[name].split():
        if not re.search(rf"{option}\b(?!-)", help_text):
            broken(f"`{name}` has no option `{option}`.", users(option))


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_variable_of_the_environment_is_still_read(name: str) -> None:
    if name not in _all_of_flower():
        broken(f"nothing in it reads the variable `{name}`.", users(name))


@cache
def _all_of_flower() -> str:
    files = [file for file in distribution("flwr").files or [] if file.suffix == ".py"]
    return "".join(path.read_text(encoding="utf-8") for file in files if (path := Path(str(file.locate()))).exists())
