"""The wheel of docs/extending.md, built and installed into a folder of its own."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.plugins import installed
from tests.house.documents import ROOT
from tests.house.test_extending import blocks

FOLDER, NAME, MODULE = "example-wheel", "consilium-example", "consilium_example"


def built(folder: Path) -> Path:
    """The folder that the page's wheel is installed into."""
    for path, language, text in blocks((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")):
        if path.startswith(f"{FOLDER}/") and language != "bash":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", "--no-build-isolation", *alone, "-w", folder, folder / FOLDER], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *alone, "--no-compile", "--target", folder / "installed", wheel], check=True)
    return folder / "installed"


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed."""
    return built(tmp_path_factory.mktemp("plugin"))


def forget() -> None:
    """As in a new process: nothing of the plug-in was imported."""
    installed._load_installed.cache_clear()
    installed._IMPORTED.clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == MODULE]:
        del sys.modules[name]


@pytest.fixture
def on_path(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder that Python looks into, of this test's own."""
    folder = Path(shutil.copytree(target, tmp_path / "site-packages"))
    forget()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    forget()
