"""A coordinator in operation: its certificate is renewed, it moves, is lost and restored. No site gets new keys."""

import re
import shutil
from pathlib import Path

import pytest

from client.plans.log_witness import Witness
from server.consortium import certificate
from server.consortium.home import Home
from server.runs.run import Run
from tests.admitted import home_of
from tests.deployment.federation import free_port
from tests.deployment.whole import SITES, SVM, Quick, ended, simulated, until, written

pytestmark = pytest.mark.slow


def test_a_run_outlives_a_new_certificate_and_a_move_and_a_lost_coordinator_trains_again(tmp_path: Path) -> None:
    config = written(tmp_path / "config.yaml", model=SVM["model"] | {"C": 1.0})  # some 50 rounds
    federation, safe, key = Quick(tmp_path, config, SITES), tmp_path / "safe", tmp_path / "pilot.recovery"
    with ended(federation):
        federation.found()
        federation.start()
        federation.ready()
        run = federation.submit()
        home = Home(federation.home)

        def two_more_rounds() -> None:
            rounds = len(federation.rounds(run))
            until(lambda: len(federation.rounds(run)) >= rounds + 2 or federation.state(run)["stage"] == "finished")

        two_more_rounds()
        identities = {site: (tmp_path / site / "identity").read_bytes() for site in SITES}
        before = certificate.certificate_file(home).read_bytes()
        federation.server("renew")  # a new roster and a new certificate, in the middle
        assert certificate.certificate_file(home).read_bytes() != before
        log = home.live / "log" / "gateway.log"  # begins with the first line
        until(lambda: log.exists() and "the gateway has a new certificate" in log.read_text("utf-8"))
        two_more_rounds()
        address = f"127.0.0.1:{free_port()}"
        federation.server("move", "--address", address)
        until(lambda: {(tmp_path / site / "address").read_text("utf-8") for site in SITES} == {address})
        federation.processes["server"].terminate()
        federation.processes["server"].wait(60)
        federation.start("server")
        assert federation.wait(run, 600) == "finished", federation.state(run)
        assert federation.result(run)["weights_sha256"] == simulated(config)

        federation.server("backup", str(safe), "--recovery", str(key))
        federation.server("renew")  # what the backup knows nothing of
        lost = home.roster.version
        until(lambda: all(home_of(tmp_path / site).roster.version == lost for site in SITES))
        federation.processes["server"].terminate()
        federation.processes["server"].wait(60)
        shutil.rmtree(federation.home)
        federation.server("restore", str(safe), "--recovery", str(key))
        federation.server("renew")
        federation.start("server")
        needed_a_person = []
        for site in SITES:
            witness = Witness(home_of(tmp_path / site))
            until(witness.home.witness_refused.exists)
            (size,) = re.findall(r"--at (\d+)", witness.how_to_accept())
            root = federation.server("audit", "verify", "--at", size).split()[-1]
            federation.client(site, "witness", "--accept", root)
            needed_a_person.append(site)
        federation.server("run", str(config), "name=again", "--no-follow")
        again = Run.find(home).name
        assert federation.wait(again, 600) == "finished", federation.state(again)
        assert needed_a_person == list(SITES)  # once each, by telephone
        assert {site: (tmp_path / site / "identity").read_bytes() for site in SITES} == identities
