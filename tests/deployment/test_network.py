"""A coordinator and three hospitals in network namespaces, with an address each: no way between them but the wire."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment.whole import SITES, Quick, ended, simulated, until, written

pytestmark = pytest.mark.slow

COORDINATOR, SWITCH = "10.77.0.1", "switch"
CUT_S = 7.0
"""Longer than a round waits for a site."""


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, encoding="utf-8")
    if done.returncode:
        raise PermissionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Wires:
    """A namespace for each, all of them wired to a bridge in one more; the machine's own network has no part in it."""

    def __init__(self) -> None:
        self._mark = f"consilium-{os.getpid()}"
        self._made: list[str] = []

    def namespace(self, who: str) -> str:
        return f"{self._mark}-{who}"

    def lay(self) -> None:
        self._add(SWITCH)
        ip("-n", self.namespace(SWITCH), "link", "add", "bridge", "type", "bridge")
        ip("-n", self.namespace(SWITCH), "link", "set", "bridge", "up")
        for number, who in enumerate(("server", *SITES), 1):
            self._add(who)
            theirs, wire = self.namespace(who), f"to-{who}"
            ip("-n", theirs, "link", "add", "eth0", "type", "veth", "peer", wire, "netns", self.namespace(SWITCH))
            ip("-n", theirs, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", theirs, "link", "set", "eth0", "up")
            ip("-n", self.namespace(SWITCH), "link", "set", wire, "master", "bridge")
            self.mend(who)

    def _add(self, who: str) -> None:
        ip("netns", "add", self.namespace(who))
        self._made.append(self.namespace(who))
        ip("-n", self.namespace(who), "link", "set", "lo", "up")

    def cut(self, who: str) -> None:
        """At the switch: whoever is at the end of the wire is told nothing."""
        ip("-n", self.namespace(SWITCH), "link", "set", f"to-{who}", "down")

    def mend(self, who: str) -> None:
        ip("-n", self.namespace(SWITCH), "link", "set", f"to-{who}", "up")

    def clear(self) -> None:
        for name in self._made:
            ip("netns", "delete", name)


@contextmanager
def wires() -> Iterator[Wires]:
    made = Wires()
    try:
        made.lay()
        yield made
    except (PermissionError, FileNotFoundError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    finally:
        made.clear()


def test_hospitals_behind_wires_reach_the_bits_of_the_simulation_also_when_one_is_cut_for_a_while(
    tmp_path: Path,
) -> None:
    config = written(tmp_path / "config.yaml")
    federation = Quick(tmp_path, config, SITES, COORDINATOR, 8443)
    with wires() as laid, ended(federation):
        federation.found()
        name = federation.submit()
        for who in ("server", *SITES):
            federation.prefix[who] = ["ip", "netns", "exec", laid.namespace(who)]
        federation.start()
        until(lambda: len(federation.rounds(name)) >= 3)
        laid.cut("Nairobi")
        time.sleep(CUT_S)
        laid.mend("Nairobi")
        assert federation.state(name)["stage"] == "running"
        assert federation.wait(name, 90) == "finished"
        void = [record["round"] for record in federation.rounds(name) if record["void"]]
        assert void
        assert federation.result(name)["weights_sha256"] == simulated(config)
