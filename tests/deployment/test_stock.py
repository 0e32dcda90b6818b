"""A site that runs the stock `flower-supernode`, as docs/deploy.md has it, beside two of ours in one run."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment.federation import ROOT
from tests.deployment.whole import SITES, SVM, Quick, ended, until, written
from tests.superlink.superlink import free_port

pytestmark = pytest.mark.slow

LISBON, NAIROBI, OSAKA = SITES
DOCUMENTED = r"^PYTHONPATH=.*? flower-supernode .*?home=\"site\"'$"


@contextmanager
def stock(consortium: Quick, site: Path) -> Iterator[None]:
    """The command of docs/deploy.md, with this site's folder and this consortium's address in it."""
    found = re.search(DOCUMENTED, (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    command = found[0].replace("train.hospital.example:8443", f"{consortium.address}:{consortium.port}")
    command = command.replace("site/", f"{site}/").replace('"site"', f'"{site}"') + f" --port {free_port()}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "FLWR_HOME": str(site / "flower")}
    with (consortium.folder / "stock.out").open("wb") as out:
        process = subprocess.Popen(
            ["sh", "-c", command], cwd=ROOT, stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_stock_supernode_takes_part_in_a_round_beside_our_sites(tmp_path: Path) -> None:
    federation = SVM["federation"] | {"rounds": 3, "timeout_s": 60}  # each message takes a new process there
    consortium = Quick(tmp_path, written(tmp_path / "config.yaml", federation=federation), SITES)
    with ended(consortium):
        consortium.found()
        run = consortium.submit()
        consortium.start("server", LISBON, NAIROBI)
        consortium.ready()
        consortium.client(OSAKA, "plans")
        consortium.client(OSAKA, "approve", run)  # no process of ours runs there that would, by its rules
        with stock(consortium, tmp_path / OSAKA):
            (first, *_) = until(lambda: consortium.rounds(run), 400)
        assert (first["void"], tuple(first["sites"])) == (False, SITES), consortium.logs()
