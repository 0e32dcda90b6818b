"""A site between two runs: the same process, and the memory of the last run is the machine's again."""

from pathlib import Path

import psutil
import pytest

from tests.deployment.whole import SITES, SVM, Quick, ended, until, written

pytestmark = pytest.mark.slow

AT_REST_BYTES = 250e6


def test_after_a_run_a_site_takes_as_little_as_at_its_start_and_takes_part_in_the_next(tmp_path: Path) -> None:
    cnn = {"kind": "cnn", "architecture": "plain", "width": 4}
    config = written(tmp_path / "config.yaml", model=cnn, federation={"rounds": 2, "quorum": 3, "timeout_s": 60})
    other = written(tmp_path / "other.yaml", federation=SVM["federation"] | {"rounds": 4})
    federation = Quick(tmp_path, config, SITES)
    with ended(federation):
        federation.found()
        federation.start()
        federation.ready()
        processes = [psutil.Process(federation.processes[site].pid) for site in SITES]
        run = federation.submit()
        assert federation.wait(run, 400) == "finished", federation.state(run)
        assert min(process.memory_info().rss for process in processes) > 2 * AT_REST_BYTES
        until(lambda: max(process.memory_info().rss for process in processes) < AT_REST_BYTES)
        federation.config = other
        run = federation.submit()
        assert federation.wait(run, 400) == "finished", federation.state(run)
        assert [process.is_running() for process in processes] == [True] * 3
