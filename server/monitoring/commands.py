"""The commands `health` and `metrics` of `python -m server`."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.monitoring.monitoring_commands import health_command, metrics_command
from server.consortium.arguments import add_home
from server.consortium.home import Home
from server.monitoring.coordinator_health import CHECKS

if TYPE_CHECKING:
    from common.monitoring.metric_page import Sample

HEALTH = """Is the coordinator at work? A line each for processes, sites, runs, disk and what expires, the worst first.

  python -m server health
  python -m server health --json

Exit status 0: all in order; 1: something to look at; 2: something is wrong now. docs/monitoring.md"""

METRICS = """What Prometheus reads of this coordinator, on this machine's loopback; of a single site nothing but whether
it is there, since when, and the code of what is wrong.

  python -m server metrics
  python -m server metrics --print"""


def _home(options: argparse.Namespace) -> Home:
    return Home.at(options.home)


def _samples(home: Home) -> "Iterable[Sample]":
    from server.monitoring.coordinator_samples import samples

    return samples(home)


COMMANDS = {
    "health": health_command(HEALTH, add_home, _home, CHECKS),
    "metrics": metrics_command(METRICS, add_home, _home, _samples, 9464),
}
