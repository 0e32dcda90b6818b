"""A hospital that has one of a plan's classes takes part."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from client.custody import importer
from client.custody.importer import ImportRequest
from client.custody.key_ring import Custody
from client.dataset.for_plan import own_cases
from client.plans.decide import decide
from client.setup import plan_checks
from client.training import hospital_site
from common.config import Npz
from common.errors import LabelError
from common.plans.plan import RunPlan
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import ALL, SIX, SVM, Hospitals

WHERE = SIX[3]


@pytest.fixture
def hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospitals:
    """Four hospitals, of which the last has sick patients alone, in custody, and says nothing of labels."""
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    hospitals = Hospitals(tmp_path, dict.fromkeys(SIX[:4], (30, 10)), SVM)
    home = hospitals.sites[WHERE]
    with np.load(home.folder / "images.npz") as file:
        images = np.concatenate([file[f"{part}_images"] for part in ("train", "val")])
    part = np.array(["train"] * 30 + ["val"] * 10)
    np.savez(tmp_path / "sick.npz", images=images, labels=np.ones(40, np.int64), part=part)
    Custody(home).begin(tmp_path / "recovery.key")
    source = Npz(kind="npz", path=tmp_path / "sick.npz", labels=("clear", "disease"), split="part")
    assert not importer.run(Custody(home), ImportRequest(source, "chest")).problems
    write(hospitals, {"kind": "encrypted", "path": "sets/chest"})
    return hospitals


def write(hospitals: Hospitals, data: dict[str, object]) -> None:
    path = hospitals.sites[WHERE].folder / "site.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["datasets"]["chest"] = {"data": data, "sites": ALL}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")


def plan_of(hospitals: Hospitals) -> RunPlan:
    return hospitals.plan(f"plan.cohort=[{', '.join(SIX[:4])}]", tree=SVM)


def test_it_trains_with_the_others_and_check_says_what_it_means(hospitals: Hospitals) -> None:
    plan, home = plan_of(hospitals), hospitals.sites[WHERE]
    beginning = honest_beginning(hospitals, plan, rounds=2)
    assert all(sums for sums in beginning.sums.values())
    assert set(own_cases(home, plan).train.labels.tolist()) == {1}
    lines = [result.what for result in plan_checks.look_at_images(home)]
    assert "chest for " in lines[0]
    assert "clear 0, disease 30" in lines[0]
    assert "of one class. It trains with the others" in lines[1]
    assert "chest is version " in lines[2]


def test_another_label_than_the_plan_has_is_refused(hospitals: Hospitals) -> None:
    write(hospitals, {"kind": "encrypted", "path": "sets/chest", "groups": {"disease": "sick"}})
    with pytest.raises(LabelError, match=r"'sick' is none of these\. Say what stands for what"):
        decide(hospitals.sites[WHERE], plan_of(hospitals), "approve", "")
