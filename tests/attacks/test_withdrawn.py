"""A patient who was taken out, or a label that was corrected, is not told by asking the same again (P6)."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from client.custody import importer
from client.custody.importer import ImportRequest
from client.custody.key_ring import Custody
from client.custody.pseudonyms import Pseudonyms
from client.dataset.for_plan import own_rows
from client.patients import relabel, removal
from client.patients.relabel import Correction
from client.patients.search import People, match, search
from client.plans import own_images
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.config import Npz
from common.errors import PolicyError
from common.plans.decision import Commitment, Decision
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import ALL, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends
from tests.attacks.test_same_again import FOUR, THREE, again, plan_over, statistics, told

pytestmark = pytest.mark.usefixtures("many_hospitals")
WHERE = FOUR[3]


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    """Four hospitals, of which the last keeps its images in custody, each of a patient of its own."""
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SVM)
    home = hospitals.sites[WHERE]
    with np.load(home.folder / "images.npz") as file:
        parts = {part: (file[f"{part}_images"], file[f"{part}_labels"].ravel()) for part in ("train", "val", "test")}
    columns = {
        "images": np.concatenate([images for images, _ in parts.values()]),
        "labels": np.concatenate([labels for _, labels in parts.values()]),
        "part": np.array([part for part, (_, labels) in parts.items() for _ in labels]),
        "who": np.array([f"{part}-{i}" for part, (_, labels) in parts.items() for i in range(len(labels))]),
    }
    np.savez(tmp_path / "export.npz", **columns)
    bring_in(hospitals)
    settings = yaml.safe_load((home.folder / "site.yaml").read_text())
    settings["datasets"]["chest"] = {"data": {"kind": "encrypted", "path": "sets/chest"}, "sites": ALL}
    (home.folder / "site.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return hospitals


def custody_of(hospitals: Hospitals) -> Custody:
    return Custody(hospitals.sites[WHERE])


def bring_in(hospitals: Hospitals) -> None:
    custody = custody_of(hospitals)
    if not (custody.folder / "keys").exists():
        custody.begin(hospitals.folder / "recovery.key")
    path, labels = hospitals.folder / "export.npz", ("clear", "disease")
    source = Npz(kind="npz", path=path, labels=labels, patient="who", split="part")
    assert not importer.run(custody, ImportRequest(source, "chest")).problems


def take_out(hospitals: Hospitals, *who: str) -> None:
    custody, people = custody_of(hospitals), People("patient", who)
    (gone,) = removal.remove(custody, search(custody, people, None), people, ())
    assert gone.images == len(who)


def correct(hospitals: Hospitals, who: str) -> None:
    custody = custody_of(hospitals)
    (found,) = search(custody, People("patient", (who,)), "chest")
    (case,) = [case for case in found.store.index.cases if case.object in found.numbers]
    other = {"clear": "disease", "disease": "clear"}[case.label]
    row = Correction(2, "patient", who, case.label, other)
    assert relabel.relabel(custody, custody.sets / "chest", hospitals.folder / "list.csv", [row]).cases == 1


def test_the_same_sites_of_which_one_has_a_patient_less(hospitals: Hospitals, ends: Ends) -> None:
    told(hospitals)
    take_out(hospitals, "train-3")
    coordinator, loot = again(hospitals, FOUR)
    ends("statistics again, a patient taken out", coordinator, {"repeated-question": FOUR}, loot)


def test_nor_where_the_set_is_called_otherwise_afterwards(hospitals: Hospitals, ends: Ends) -> None:
    told(hospitals)
    take_out(hospitals, "train-3")
    path = hospitals.sites[WHERE].folder / "site.yaml"
    path.write_text(path.read_text().replace("chest:", "thorax:"), encoding="utf-8")
    for name in THREE:
        path = hospitals.sites[name].folder / "site.yaml"
        path.write_text(path.read_text().replace("chest:", "thorax:"), encoding="utf-8")
    coordinator, loot = again(hospitals, FOUR, "plan.dataset=thorax")
    ends("statistics of a set of another name, a patient taken out", coordinator, {"repeated-question": FOUR}, loot)


def test_nor_over_the_others_alone(hospitals: Hospitals, ends: Ends) -> None:
    told(hospitals)
    take_out(hospitals, "train-3")
    coordinator, loot = again(hospitals, THREE)
    ends("statistics over the other three", coordinator, {"repeated-question": THREE}, loot)


def test_the_same_sites_of_which_one_has_corrected_a_label(hospitals: Hospitals, ends: Ends) -> None:
    told(hospitals)
    correct(hospitals, "train-3")
    coordinator, loot = again(hospitals, FOUR)
    ends("statistics again, a label corrected", coordinator, {"repeated-question": FOUR}, loot)


def test_a_correction_that_is_taken_back_changes_no_sum(hospitals: Hospitals) -> None:
    told(hospitals)
    correct(hospitals, "train-3")
    correct(hospitals, "train-3")  # and back
    coordinator, sums = again(hospitals, FOUR)
    assert sums
    assert not coordinator.codes()


def test_a_run_does_not_go_on_over_other_images_than_were_approved(hospitals: Hospitals) -> None:
    home, plan = hospitals.sites[WHERE], hospitals.approve(plan_over(hospitals, FOUR)).plan
    approval = PlanInbox(home).decision(plan)
    assert approval
    assert approval.commitment.version == own_images.version(home, plan)
    assert hospital_site.prepare(home, plan).site  # and its images are in memory
    take_out(hospitals, "train-3")
    assert own_images.version(home, plan) != approval.commitment.version
    with pytest.raises(PolicyError, match="If the run has not begun, approve it again") as refusal:
        hospital_site.prepare(home, plan)
    assert approval.commitment.version[:16] in str(refusal.value)
    assert own_images.version(home, plan)[:16] in str(refusal.value)
    anew = decide(home, plan, "approve", "")
    assert anew.commitment.version == own_images.version(home, plan)
    assert hospital_site.prepare(home, plan).site


def test_nothing_of_it_is_sent(hospitals: Hospitals) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approve(plan_over(hospitals, FOUR)))
    take_out(hospitals, "train-3")
    sums = coordinator.attempt(lambda: coordinator.sum((), statistics(coordinator)))
    assert coordinator.codes() == {WHERE: "changed-images"}
    assert sums is None or sums["n"] == 90  # the three others', as where any site is silent


def test_nor_after_a_second_approval_once_the_run_has_begun(hospitals: Hospitals) -> None:
    home, plan = hospitals.sites[WHERE], plan_over(hospitals, FOUR)
    honest_beginning(hospitals, plan, rounds=0)
    take_out(hospitals, "train-3")
    decide(home, plan, "refuse", "")
    with pytest.raises(PolicyError, match="goes on with those or without this site") as refusal:
        decide(home, plan, "approve", "")
    assert refusal.value.cause == "changed-images"
    inbox, data = PlanInbox(home), own_images.data_digest(home, own_rows(home, plan))
    signed_past_it = Decision.make(WHERE, plan, "approve", "", home.identity, Commitment("", data))
    inbox.keep_decision(signed_past_it)
    with pytest.raises(PolicyError, match="was approved for"):
        hospital_site.prepare(home, plan)


def test_the_way_on_is_said_when_a_plan_is_approved(hospitals: Hospitals) -> None:
    honest_beginning(hospitals, plan_over(hospitals, FOUR), rounds=0)
    take_out(hospitals, "train-3")
    with pytest.raises(PolicyError, match="Ask the coordinator for a plan that carries what that run summed"):
        decide(hospitals.sites[WHERE], plan_over(hospitals, FOUR, "name=again"), "approve", "")


def test_pseudonyms_of_the_site_answer_for_its_own_number_alone(hospitals: Hospitals) -> None:
    (store,) = [found.store for found in search(custody_of(hospitals), People("patient", ("train-3",)), None)]
    pseudonym = Pseudonyms(store.secrets.pseudonyms).patient("train-3")
    assert len(match(store, People("patient", ("train-3", "nobody"))).numbers) == 1
    assert match(store, People("patient", (pseudonym,))).numbers == []
