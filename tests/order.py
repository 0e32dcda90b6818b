"""What a whole run of the tests is told from outside, and says at its very end.

-n 2 --dist loadfile             the files that take longest begin first, so that no process is left with one at the end
python -m pytest --shuffle 7     in another order, always the same for a number: no test may need the one before it
NOT TESTED: 24 tests: …          the last lines: what was left out, for lack of what, and how to get it
"""

import gc
import random
from collections import Counter
from pathlib import Path

import pytest

LONGEST = (
    "house/test_extending.py",
    "connection/test_node.py",
    "gateway/test_hostile_coordinator.py",
    "runs/test_runs.py",
    "superlink/test_hospitals.py",
    "privacy/test_budgeted_plans.py",
    "page/test_hospital_page.py",
    "attacks/test_promise_changed_cohort.py",
    "privacy/test_account_kills.py",
    "pacs/test_peers.py",
    "federation/test_simulate.py",
    "catalogue/test_catalogue_page.py",
    "patients/test_patients.py",
    "attacks/test_next_to_the_same.py",
    "access/test_accounts.py",
)
"""Each more than ten seconds of one processor, the longest first."""

SLOW_S = 3600
"""How long a whole life may take before it counts as one that does not end."""


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist would begin with the files that have most tests, which are not those that take longest."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in another order")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The same order in every process that tests."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_S))
    if (seed := config.getoption("--shuffle")) is not None:
        random.Random(seed).shuffle(items)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: a look for garbage, of which some tests ask one each, passes it over."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """After everything else, and once."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    whys = [report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ())
            if isinstance(report.longrepr, tuple)]  # fmt: skip
    for why, number in sorted(Counter(whys).items()):
        reporter.write_line(f"NOT TESTED: {number} test{'s' * (number > 1)}: {why}", yellow=True, bold=True)
