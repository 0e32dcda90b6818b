"""A real run's model, from the hospitals' sums to a package that one of them checks."""

from pathlib import Path

import pytest

from client.prediction import trust
from common.errors import PackageError
from common.package import package_file
from common.package.package_file import CARD
from server.__main__ import main as server
from server.runs.driver import carry_out
from tests.consortium.consortium import NAMES, Consortium
from tests.runs.test_runs import Hospitals


@pytest.mark.slow
def test_a_consortium_s_model_says_where_it_comes_from_and_nothing_of_a_single_site(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path / "life")
    plan = consortium.plan("federation.rounds=12")
    run = consortium.begun(plan)
    carry_out(run, Hospitals(consortium, plan))
    assert run.state.stage == "finished", run.state.why
    out = tmp_path / "lungs.consilium"
    folder = str(consortium.home.folder)
    assert server(["export", plan.name, "--home", folder, "--out", str(out), "--country", "Lisbon=Portugal"]) == 0
    assert server(["export", str(run.folder), "--key", str(tmp_path / "own")]) == 2  # the roots sign a real one
    shared = package_file.read_package(out, consortium.home.pins.roots)
    told, roster = shared.content.provenance, consortium.home.roster
    assert (told.kind, told.plan, told.consortium, told.sites) == ("federation", plan.digest, "pilot", NAMES)
    assert (told.roster, told.roster_digest) == (roster.version, roster.digest.hex())
    assert told.audit_head is not None
    # The export is an entry of its own: the head is that before it ended.
    assert 0 < told.audit_head.size <= len(list(consortium.home.log.lines()))
    assert shared.content.likeness is not None
    assert shared.content.calibration
    card = shared.members[CARD].decode()
    assert "| Lisbon | Portugal |" in card
    assert "| Osaka | not told |" in card
    assert "What the model reaches at each site is not published" in card
    assert "they flatter" in card
    assert shared.model().kind == "svm"
    for site in consortium.sites.values():
        assert "pinned when it joined" in trust.settle(shared, site.folder, None, tmp_path / "none.json")
    with pytest.raises(PackageError, match="not signed by a publisher that is trusted here"):
        trust.settle(shared, tmp_path, None, tmp_path / "none.json")
