"""Counts what the property tests of secure aggregation tried, and says it at the end of the run.

CONSILIUM_EXAMPLES=500 python -m pytest tests/secagg/test_exact_sum.py    tries more than the usual number
"""

from collections import Counter

import pytest

TRIED: Counter[str] = Counter()


@pytest.fixture
def tried() -> Counter[str]:
    """What was tried, by name."""
    return TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each thing that was counted."""
    for what, number in sorted(TRIED.items()):
        terminalreporter.write_line(f"secure aggregation: {what}: {number}")
