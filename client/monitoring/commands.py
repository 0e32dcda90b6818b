"""The commands `health` and `metrics` of `python -m client`."""

import argparse

from client.home import Home, home_option
from client.monitoring.site_health import CHECKS
from common.cli.command import Command
from common.monitoring import check_result

HEALTH = """Is this site at work? A line each for its resident process, plans, roster and disk, the worst first.

  python -m client health
  python -m client health --json

Exit status 0: all in order; 1: something to look at; 2: something is wrong now. docs/monitoring.md"""

METRICS = """What Prometheus reads of this site, on this machine's loopback: whether it is at work, plans by state,
room, what expires. Nothing of images, cases or answers.

  python -m client metrics
  python -m client metrics --print"""


def _health_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")
    home_option(parser)


def _health(options: argparse.Namespace) -> int:
    return check_result.health(CHECKS, options.here, as_json=options.json)


def _metrics_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=9465, help="on this machine's loopback (9465)")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print them once, and end")
    home_option(parser)


def _metrics(options: argparse.Namespace) -> int:
    from client.monitoring.site_samples import samples
    from common.monitoring import metric_page

    home: Home = options.here
    return metric_page.show(lambda: samples(home), options.port, only_print=options.only_print)


COMMANDS = {
    "health": Command(HEALTH, _health_arguments, _health),
    "metrics": Command(METRICS, _metrics_arguments, _metrics),
}
