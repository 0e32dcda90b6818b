"""The commands `health` and `metrics`, which both sides have: what is looked at is each side's own."""

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from common.cli.command import Command
from common.monitoring import check_result
from common.monitoring.check_result import Checks

if TYPE_CHECKING:  # prometheus_client with it, which `health` can do without
    from common.monitoring.metric_page import Sample

H = TypeVar("H")
Arguments = Callable[[argparse.ArgumentParser], None]
HomeOf = Callable[[argparse.Namespace], H]


def health_command(teaching: str, add_home: Arguments, home_of: HomeOf[H], checks: Checks[H]) -> Command:
    """`health`: all checks as lines, or for programs, and an exit status."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")
        add_home(parser)

    return Command(
        teaching, arguments, lambda options: check_result.health(checks, home_of(options), as_json=options.json)
    )


def metrics_command(
    teaching: str, add_home: Arguments, home_of: HomeOf[H], samples: "Callable[[H], Iterable[Sample]]", port: int
) -> Command:
    """`metrics`: printed once, or served on loopback, by default at a port of the side's own."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=port, help=f"on this machine's loopback ({port})")
        parser.add_argument("--print", action="store_true", dest="only_print", help="print them once, and end")
        add_home(parser)

    def run(options: argparse.Namespace) -> int:
        from common.monitoring import metric_page

        home = home_of(options)
        return metric_page.show(lambda: samples(home), options.port, only_print=options.only_print)

    return Command(teaching, arguments, run)
