"""What a whole run of the tests is told from outside, and says at its very end.

python -m pytest --shuffle 7     in another order, always the same for a number: no test may need the one before it
NOT TESTED: 24 tests: …          the last lines: what was left out, for lack of what, and how to get it
"""

import random
from collections import Counter

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in another order")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The same order in every process that tests."""
    if (seed := config.getoption("--shuffle")) is not None:
        random.Random(seed).shuffle(items)


def pytest_unconfigure(config: pytest.Config) -> None:
    """After everything else, and once."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    whys = [report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ())
            if isinstance(report.longrepr, tuple)]  # fmt: skip
    for why, number in sorted(Counter(whys).items()):
        reporter.write_line(f"NOT TESTED: {number} test{'s' * (number > 1)}: {why}", yellow=True, bold=True)
