"""What all tests share."""

import os
import shutil
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, sync_playwright

pytest_plugins = ["tests.tally", "tests.order"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Machines of every speed run these tests: a slow example is no failure. The same examples each time.
settings.register_profile("consilium", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("consilium")

# A test can kill a process and not the machine: what was written is there with or without waiting for the disk, and the
# waits are a fifth of the time of these tests. Processes that tests start do wait.
os.fsync = lambda file: None

# Tests start hundreds of processes; each would compile all again where Python is told to keep nothing.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plugin", metavar="NAME", help="run the contract tests alone, over an installed wheel's parts")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--plugin") and config.args == config.getini("testpaths"):
        config.args = ["tests/contracts"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no browser is installed. As the administrator: apt-get install chromium")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "TMP", "TEMP"):  # a long one is too long for the path of its socket
            patch.delenv(name, raising=False)
        playwright = sync_playwright().start()
    found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    yield found
    found.close()
    playwright.stop()
