"""The commands `health` and `metrics` of `python -m client`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from client.home import Home, home_option
from client.monitoring.site_health import CHECKS
from common.monitoring.monitoring_commands import health_command, metrics_command

if TYPE_CHECKING:
    from common.monitoring.metric_page import Sample

HEALTH = """Is this site at work? A line each for its resident process, plans, roster and disk, the worst first.

  python -m client health
  python -m client health --json

Exit status 0: all in order; 1: something to look at; 2: something is wrong now. docs/monitoring.md"""

METRICS = """What Prometheus reads of this site, on this machine's loopback: whether it is at work, plans by state,
room, what expires. Nothing of images, cases or answers.

  python -m client metrics
  python -m client metrics --print"""


def _samples(home: Home) -> "Iterable[Sample]":
    from client.monitoring.site_samples import samples

    return samples(home)


COMMANDS = {
    "health": health_command(HEALTH, home_option, lambda options: options.here, CHECKS),
    "metrics": metrics_command(METRICS, home_option, lambda options: options.here, _samples, 9465),
}
