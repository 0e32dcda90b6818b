"""Samples as Prometheus reads them: printed once, or served on loopback until Ctrl-C. Read anew at each scrape."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.cli import interrupt
from common.errors import RunError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Sample:
    """One number, with the name, the help and the labels under which it is read."""

    name: str
    """With its unit at the end."""
    about: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


Samples = Callable[[], Iterable[Sample]]


@dataclass(frozen=True)
class SampleCollector(Collector):
    """Gauges of what is so at the moment of a scrape."""

    samples: Samples

    def collect(self) -> Iterator[Metric]:
        """Every sample, those of one name together."""
        families: dict[str, GaugeMetricFamily] = {}
        for sample in self.samples():
            names = [name for name, _ in sample.labels]
            family = families.setdefault(sample.name, GaugeMetricFamily(sample.name, sample.about, labels=names))
            family.add_metric([value for _, value in sample.labels], sample.value)
        yield from families.values()


def show(samples: Samples, port: int, *, only_print: bool) -> int:
    """Print the samples, or serve them until Ctrl-C or SIGTERM.

    Raises:
        RunError: the port is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SampleCollector(samples))
    if only_print:
        print(generate_latest(registry).decode(), end="")
        return 0
    stop = threading.Event()
    try:
        server, thread = start_http_server(port, LOOPBACK, registry)
    except (OSError, OverflowError) as error:
        raise RunError(f"{LOOPBACK}:{port}: {getattr(error, 'strerror', None) or error}. Another --port?") from None
    with interrupt.in_order(stop.set) as signals:
        print(f"Metrics at http://{LOOPBACK}:{port}/metrics until Ctrl-C.", flush=True)
        stop.wait()
    server.shutdown()
    thread.join()
    return signals.status
