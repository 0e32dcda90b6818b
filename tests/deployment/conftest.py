"""One coordinator's door for all tests that knock at it, and a count of what was tried there and refused."""

from collections.abc import Iterator

import pytest

from tests.deployment.door import REFUSED, Door


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Started once; nothing that a test does to it may stay."""
    made = Door(tmp_path_factory.mktemp("door"))
    made.start()
    yield made
    made.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the doors are what was run: each with what it was answered. Always: how many."""
    if any("doors" in argument for argument in terminalreporter.config.args):
        for what, answer in REFUSED:
            terminalreporter.write_line(f"  {what} → {answer}")
    terminalreporter.write_line(f"doors tried and refused {len(REFUSED)}")
