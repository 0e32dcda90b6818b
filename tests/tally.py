"""What the tests tried and how often it was refused, counted and told at the end; over all processes that test.

TRIED["attacks tried"] += 1
EVENTS["attacks"].append("swapped keys → bad-signature")     told where the argument of pytest names `attacks`
"""

from collections import Counter, defaultdict

import pytest

TRIED: Counter[str] = Counter()
EVENTS: defaultdict[str, list[str]] = defaultdict(list)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that tests for another tells it what it counted."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = [dict(TRIED), dict(EVENTS)]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Such a process has ended."""
    counted, events = getattr(node, "workeroutput", {}).get("tally", [{}, {}])
    TRIED.update(counted)
    for topic, told in events.items():
        EVENTS[topic] += told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each thing that was counted."""
    for topic, told in EVENTS.items():
        if any(topic in argument for argument in terminalreporter.config.args):
            for line in told:
                terminalreporter.write_line(f"  {line}")
    for what, number in sorted(TRIED.items()):
        terminalreporter.write_line(f"{what}: {number}")
