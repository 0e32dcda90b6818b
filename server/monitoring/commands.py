"""The commands `health` and `metrics` of `python -m server`."""

import argparse

from common.cli.command import Command
from common.monitoring import check_result
from server.consortium.arguments import add_home
from server.consortium.home import Home
from server.monitoring.coordinator_health import CHECKS

HEALTH = """Is the coordinator at work? A line each for processes, sites, runs, disk and what expires, the worst first.

  python -m server health
  python -m server health --json

Exit status 0: all in order; 1: something to look at; 2: something is wrong now. docs/monitoring.md"""

METRICS = """What Prometheus reads of this coordinator, on this machine's loopback; of a single site nothing but whether
it is there, since when, and the code of what is wrong.

  python -m server metrics
  python -m server metrics --print"""


def _health_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")
    add_home(parser)


def _health(options: argparse.Namespace) -> int:
    return check_result.health(CHECKS, Home.at(options.home), as_json=options.json)


def _metrics_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=9464, help="on this machine's loopback (9464)")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print them once, and end")
    add_home(parser)


def _metrics(options: argparse.Namespace) -> int:
    from common.monitoring import metric_page
    from server.monitoring.coordinator_samples import samples

    home = Home.at(options.home)
    return metric_page.show(lambda: samples(home), options.port, only_print=options.only_print)


COMMANDS = {
    "health": Command(HEALTH, _health_arguments, _health),
    "metrics": Command(METRICS, _metrics_arguments, _metrics),
}
