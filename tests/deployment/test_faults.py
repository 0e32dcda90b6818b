"""One run, and one after the other everything in it is killed or cut off; benchmarks/faults.py does so more often."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import faults
from tests.deployment.whole import SITES, SVM, InOneProcess, Willing, ended, simulated, until, written

pytestmark = pytest.mark.slow

INJECTED = (
    "SIGKILL of a site",
    "a line is cut",
    "SIGKILL of the gateway",
    "SIGKILL of the SuperLink",
    "SIGKILL of the ServerApp",
    "SIGKILL of the whole coordinator",
)


class Shaken(Willing, InOneProcess, faults.Odd):
    """Sites that note what they send, behind lines that can be cut."""


def test_a_run_outlives_the_death_of_everything_in_it_loses_no_round_and_sends_nothing_twice(tmp_path: Path) -> None:
    config = written(tmp_path / "config.yaml", model=SVM["model"] | {"C": 1.0})  # some 50 rounds, so that all fit in
    federation, ledger, rng = Shaken(tmp_path, config, SITES), faults.Ledger(), random.Random(1)
    with ended(federation):
        federation.found()
        run = federation.submit()
        federation.start()

        def two_more_rounds() -> None:
            before = ledger.take(federation, run)
            until(lambda: ledger.take(federation, run) >= before + 2, faults.RECOVERY_S)

        two_more_rounds()
        for name in INJECTED:
            faults.FAULTS[name](federation, rng.choice(SITES), rng)
            two_more_rounds()
            assert federation.state(run)["stage"] == "running", f"over before or by {name}: {federation.state(run)}"
        assert federation.wait(run, 150) == "finished", federation.state(run)
        assert ledger.lost(federation) == 0
        assert federation.result(run)["weights_sha256"] == simulated(config)
        for site in SITES:
            sent = Counter((tmp_path / f"{site}.odd" / "submits.jsonl").read_text(encoding="utf-8").splitlines())
            assert [told for told, times in sent.items() if times > 1 and '"asked": "evaluate"' not in told] == []
        assert re.search(
            r"begun.*goes on from its last round", (tmp_path / "server.out").read_text(encoding="utf-8"), re.DOTALL
        )
