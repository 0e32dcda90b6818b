"""Folders as release 0.2 wrote them (`older_folder.py`), opened with today's code: keys and data stay, runs do not."""

import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from client.access.policy_store import policy_store
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from client.plans import judge
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.errors import PlanError, PolicyError
from server.consortium.home import Home
from server.runs import driver
from server.runs.carrying import foresee
from server.runs.run import Run
from tests.admitted import home_of
from tests.consortium.consortium import NAMES, Consortium, config_of, lower_floors
from tests.runs.test_runs import Hospitals

ARCHIVE = Path(__file__).with_name("folder-of-0.2.tar.xz")


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Consortium:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)
    with tarfile.open(ARCHIVE) as file:
        file.extractall(tmp_path, filter="data")
    for secret in [*tmp_path.glob("life/*/identity"), *tmp_path.glob("life/*/*.key"), *tmp_path.glob("life/*/*/key*")]:
        secret.chmod(0o600)
    opened = object.__new__(Consortium)
    opened.folder, opened.home = tmp_path / "life", Home(tmp_path / "life" / "consortium")
    opened.sites = {name: home_of(tmp_path / "life" / name) for name in NAMES}
    return opened


def runs(life: Consortium) -> tuple[Run, Run]:
    return Run.find(life.home, "first"), Run.find(life.home, "second")


def test_keys_policies_logs_and_images_in_custody_are_those_of_before(life: Consortium) -> None:
    roster = life.roster()
    assert set(roster.active) == set(NAMES)
    for name, site in life.sites.items():
        assert site.identity.public_key().public_bytes_raw() == roster.active[name]
        assert site.enrolment.site == name
        assert "training" in policy_store(site).newest().content.purposes
        site.log.record("approve", "done")  # it goes on behind what is there
    custody = Custody(life.sites["Lisbon"])
    radiographs = EncryptedDataset.open(custody, custody.sets / "radiographs")
    assert not list(radiographs.verify())
    assert {len(bytes(radiographs.read(number))) > 0 for number in range(6)} == {True}


def test_a_run_that_0_2_began_is_not_continued_and_both_sides_say_why(life: Consortium) -> None:
    first, second = runs(life)
    assert (first.state.stage, second.state.stage) == ("finished", "running")
    assert [record["round"] for record in second.rounds()] == [0]
    driver.carry_out(second, way := Hospitals(life, second.plan))
    assert second.state.stage == "failed"
    assert "a run of release 0.1 or 0.2 cannot be continued. Draw up the plan again" in second.state.why
    assert way.submitted == []
    for site in life.sites.values():
        with pytest.raises(PlanError, match="is not approved here; its messages are not answered"):
            judge.approved_plan(site, second.plan.digest)
        objection = judge.objection(site, second.plan)
        assert "is for release 0.2.0, code" in objection
        assert "or ask the coordinator for a plan of this one" in objection


def test_server_run_foresees_it_and_a_new_plan_ends_in_a_model(life: Consortium) -> None:
    _, second = runs(life)
    with pytest.raises(PlanError, match=f"run {second.name} asks the same of the same images, and is not over"):
        foresee(life.home, config_of(life.folder))
    second.end("failed", "of an older release")
    ahead = foresee(life.home, config_of(life.folder))
    assert ahead.source is None
    assert f"run {second.name} is of an older release" in ahead.words
    assert "no site remembers that it answered then" in ahead.words
    plan = life.plan("name=third")
    with pytest.raises(PolicyError, match="expected 10 at least") as refusal:  # 0.2 had no floors
        decide(life.sites["Lisbon"], plan, "approve", "")
    assert refusal.value.cause == "too-few-cases"
    for site in life.sites.values():
        lower_floors(site.folder)
    third = life.begun(plan)
    driver.carry_out(third, Hospitals(life, plan))
    assert third.state.stage == "finished", third.state.why
    assert foresee(life.home, config_of(life.folder)).source is not None
    assert np.isfinite(third.rounds()[-1]["validation"]["auc"])
    assert PlanInbox(life.sites["Lisbon"]).summed(plan.digest)
