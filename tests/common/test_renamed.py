"""Old names of release 0.1 in a user's own file: one line with the new name, for every one of them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from common.renamed import ATTRIBUTES, MODULES, new_place

ROOT = Path(__file__).parents[2]
OLD_ATTRIBUTES = [(p, entry.partition("=")[0]) for p, (_, entries) in ATTRIBUTES.items() for entry in entries.split()]


@pytest.mark.parametrize("old", MODULES)
def test_an_old_module_says_where_its_content_is_now(old: str) -> None:
    new = MODULES[old]
    with pytest.raises(ImportError, match=f"^{old} of release 0.1 is {new} now: change the import.$"):
        importlib.import_module(old)
    assert (ROOT / f"{new.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("old", MODULES)
def test_so_does_the_other_way_to_import_it(old: str) -> None:
    package, _, name = old.rpartition(".")
    if hasattr(importlib.import_module(package), name):
        return  # another thing has this name now, and is what is imported
    with pytest.raises(ImportError, match=f"^{old} of release 0.1 is {MODULES[old]} now"):
        exec(f"from {package} import {name}", {})  # noqa: S102


@pytest.mark.parametrize(("package", "name"), OLD_ATTRIBUTES)
def test_a_module_that_became_a_package_says_where_its_attributes_are(package: str, name: str) -> None:
    module, _, attribute = str(new_place(package, name)).rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)
    if (ROOT / package.replace(".", "/") / f"{name}.py").exists():
        return  # a module of the package has this name now, and is what is imported
    with pytest.raises(ImportError, match=f"^{package}.{name} of release 0.1 is {module}.{attribute} now: change"):
        exec(f"from {package} import {name}", {})  # noqa: S102


def test_what_never_was_is_missing_as_everywhere() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'client\.nothing'"):
        importlib.import_module("client.nothing")
    with pytest.raises(ImportError, match=r"cannot import name 'nothing' from 'client\.dataset'"):
        exec("from client.dataset import nothing", {})  # noqa: S102


@pytest.mark.parametrize("what", ["import common.figures", "import server.flower", "from client.site import Site"])
def test_one_line_is_the_last_of_what_a_user_reads(what: str) -> None:
    done = subprocess.run([sys.executable, "-c", what], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("ImportError: ")
    assert done.stderr.strip().endswith(" now: change the import.")


def test_flowers_own_reference_to_an_old_app_is_answered_so() -> None:
    from flwr.supercore.object_ref import load_app

    with pytest.raises(ImportError, match=r"client\.flower of release 0\.1 is client\.app now"):
        load_app("client.flower:app", ImportError, ROOT)
