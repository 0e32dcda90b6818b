"""What partners offer each other: by the real commands, over the gateway, from one hospital to another."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from client.custody.key_ring import Custody
from client.dataset import loading
from client.dataset.for_plan import own_cases
from common import config as configuration
from common.catalogue import DatasetOffer, ModelOffer, PlanOffer, Span
from common.package import package_file
from common.plans.plan import RunPlan
from tests.admitted import home_of
from tests.catalogue.fair import ABOUT, Fair
from tests.custody.hospital import folder_of_dicoms, taken_in
from tests.package.shop import Made


@given(st.integers(0, 10**7))
def test_a_count_lies_in_what_is_told_of_it_which_is_two_digits_wide_and_hides_fewer_than_ten(count: int) -> None:
    told = Span.of(count)
    assert told.least <= count <= told.most
    assert (told.most - told.least + 1) * 10 >= min(count, 100)
    assert {told == Span.of(other) for other in range(told.least, min(told.most, told.least + 20) + 1)} == {True}
    assert Span.of(count, exact=True) == Span(least=count, most=count)
    if count < 10:
        assert str(told) == "fewer than 10"


def test_a_data_set_is_described_by_people_and_counted_by_the_program(
    fair: Fair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    entry = fair.offered["Lisbon/chest"]
    told = entry.offer
    assert isinstance(told, DatasetOffer)
    assert (entry.title, entry.description, entry.contact) == (ABOUT["title"], ABOUT["description"], "Ana Sousa")
    assert (told.modality, told.country, told.purposes) == (("DX",), "Portugal", ("training",))
    assert told.origin == "synthetic"  # whatever its people say of it
    assert told.labels == ("clear", "disease")
    assert all(span.most - span.least == 9 for span in told.cases)
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said
    assert str(told.cases[0]) in said  # all that is told was shown before
    assert fair.at("Nairobi", "show", "Lisbon/chest") == 0
    assert "Reported by two radiologists." in capsys.readouterr().out
    assert [e.what for e in fair.log("Lisbon")][-2:] == ["catalogue offer"] * 2
    taken = next(e for e in fair.log() if e.what == "offer taken")
    assert taken.facts["offer"] == "Lisbon:chest"


def test_counts_are_exact_where_the_site_says_so(fair: Fair) -> None:
    path = fair.consortium.sites["Lisbon"].folder / "site.yaml"
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    told["datasets"]["chest"]["about"]["counts"] = "exact"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    offer = fair.offered["Lisbon/chest"].offer
    assert isinstance(offer, DatasetOffer)
    assert all(span.least == span.most for span in offer.cases)
    (lisbon,) = (site for site in loading.load(fair.consortium.config, 1).sites if site.name == "Lisbon")
    labels = np.concatenate([part.labels for part in (lisbon.train, lisbon.validation, lisbon.test)])
    assert [span.least for span in offer.cases] == np.bincount(labels).tolist()


def test_nothing_is_offered_without_a_yes_a_description_or_an_allowed_purpose(
    fair: Fair, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fair.consortium.sites["Lisbon"].folder / "site.yaml"
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    about = told["datasets"]["chest"]["about"]
    assert fair.at("Lisbon", "offer", "chest") == 2
    assert "answer yes at a terminal" in capsys.readouterr().err
    told["datasets"]["chest"]["about"] = about | {"purposes": ["marketing"]}
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 2
    assert "'marketing' is not among the purposes that this site allows (training)" in capsys.readouterr().err
    del told["datasets"]["chest"]["about"]
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 2
    assert "has no section `about`" in capsys.readouterr().err
    assert fair.at("Lisbon", "offer", "nothing", "--yes") == 2
    assert "neither a data set" in capsys.readouterr().err
    assert not fair.offered


def test_a_model_goes_from_one_hospital_to_another_as_it_was_and_can_be_used_there(
    fair: Fair, model: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fair.at("Lisbon", "offer", model.path, "--title", "Finds disease", "--yes") == 0
    (address,) = fair.offered
    offer = fair.offered[address].offer
    assert isinstance(offer, ModelOffer)
    assert (offer.trained, offer.labels) == ("synthetic", model.shared.content.labels)
    assert offer.card == model.shared.members["card.md"].decode()
    assert fair.at("Nairobi", "take", address, "--out", tmp_path / "taken.consilium") == 0
    assert (tmp_path / "taken.consilium").read_bytes() == model.file
    assert package_file.read_package(tmp_path / "taken.consilium").fingerprint in capsys.readouterr().out
    assert fair.at("Nairobi", "take", address, "--out", tmp_path / "taken.consilium") == 2  # is not written over
    assert fair.here("take", address, "--out", tmp_path / "here.consilium") == 0
    assert (tmp_path / "here.consilium").read_bytes() == model.file


def test_a_plan_goes_from_a_hospital_to_the_coordinator_who_asks_for_it_and_no_path_goes_with_it(
    fair: Fair, tmp_path: Path
) -> None:
    plan = tmp_path / "ours.yaml"
    tree = yaml.safe_load((fair.consortium.folder / "config.yaml").read_text(encoding="utf-8"))
    images = tmp_path / "secret-place"
    (images / "clear").mkdir(parents=True)
    plan.write_text(yaml.safe_dump(tree | {"data": {"kind": "folder", "path": str(images)}}), encoding="utf-8")
    assert fair.at("Lisbon", "offer", plan, "--yes", "--name", "ours") == 0
    entry = fair.offered["Lisbon/ours"]
    assert isinstance(entry.offer, PlanOffer)
    assert "secret-place" not in json.dumps(entry.model_dump(mode="json"))
    assert fair.here("take", "Lisbon/ours", "--out", tmp_path / "taken.yaml") == 0
    config = configuration.load(tmp_path / "taken.yaml")
    drawn = RunPlan.from_config(config, fair.consortium.home.roster, fair.consortium.roots)
    assert drawn.content.training == entry.offer.training
    assert drawn.content.dataset == "chest"


def test_the_coordinator_offers_under_the_roots_and_a_later_version_takes_the_place_of_the_one_before(
    fair: Fair, model: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    for title in ("First", "Second"):
        assert fair.here("offer", model.path, "--name", "finder", "--title", title, "--yes") == 0
    assert [(e.title, e.version, e.owner) for e in fair.offered.values()] == [("Second", 2, "")]
    assert fair.at("Osaka") == 0
    said = capsys.readouterr().out
    assert "finder" in said
    assert "0 data sets, 1 model, 0 encoders, 0 plans" in said


def test_what_is_withdrawn_is_gone_with_its_package_and_does_not_come_back(fair: Fair, model: Made) -> None:
    assert fair.at("Lisbon", "offer", model.path, "--name", "finder", "--yes") == 0
    (first,) = sorted((fair.catalogue.folder).glob("*.json"))
    assert [*(fair.catalogue.folder / "packages").iterdir()]
    assert fair.at("Nairobi", "withdraw", "finder") == 2  # another's
    assert fair.here("withdraw", "finder") == 2
    assert fair.at("Lisbon", "withdraw", "finder") == 0
    assert not fair.offered
    assert not [*(fair.catalogue.folder / "packages").iterdir()]
    assert fair.at("Nairobi", "take", "Lisbon/finder") == 2
    assert fair.at("Lisbon", "offer", model.path, "--name", "finder", "--yes") == 0
    assert fair.offered["Lisbon/finder"].version == 3
    assert first.exists()  # every version is kept


def test_images_cannot_be_taken(fair: Fair, capsys: pytest.CaptureFixture[str]) -> None:
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    assert fair.at("Nairobi", "take", "Lisbon/chest") == 2
    assert "The images stay at the hospital" in capsys.readouterr().err


def test_without_the_coordinator_the_catalogue_is_shown_as_it_was_seen_last(
    fair: Fair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    assert fair.at("Nairobi") == 0
    address = fair.consortium.sites["Nairobi"].folder / "address"
    address.write_text("127.0.0.1:9\n", encoding="utf-8")
    capsys.readouterr()
    assert fair.at("Nairobi") == 0
    said = capsys.readouterr().out
    assert "As it was seen on" in said
    assert "Lisbon/chest" in said
    assert fair.at("Nairobi", "offer", "chest", "--yes") == 2  # nothing is done by halves
    assert fair.at("Nairobi") == 0


def test_what_sites_offer_is_held_against_a_plan_and_tells_the_model_card_their_countries(fair: Fair) -> None:
    plan = fair.consortium.plan().content
    assert [*fair.catalogue.doubts(plan)] == []  # nobody offers anything: nothing is known
    for site in ("Lisbon", "Nairobi"):
        assert fair.at(site, "offer", "chest", "--yes") == 0
    assert [*fair.catalogue.doubts(plan)] == ["Osaka offers no data set 'chest' in the catalogue."]
    other = plan.model_copy(update={"labels": ("a", "b"), "cohort": ("Lisbon",)})
    assert [*fair.catalogue.doubts(other)] == ["Lisbon: its chest has the labels clear, disease, by the catalogue."]
    other = plan.model_copy(update={"purpose": "audit", "cohort": ("Lisbon",)})
    assert [*fair.catalogue.doubts(other)] == ["Lisbon: its chest is for training, by the catalogue."]
    assert fair.catalogue.countries(["Lisbon", "Osaka"]) == {"Lisbon": "Portugal"}


def test_data_that_name_no_site_are_all_the_hospital_s_own(fair: Fair, tmp_path: Path) -> None:
    site, random = fair.consortium.sites["Lisbon"], np.random.default_rng(1)
    for label, n in (("clear", 14), ("disease", 9)):
        (tmp_path / "export" / label).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(random.integers(0, 256, (16, 16), np.uint8)).save(tmp_path / "export" / label / f"{i}.png")
    told = yaml.safe_load((site.folder / "site.yaml").read_text(encoding="utf-8"))
    own = {"kind": "folder", "path": str(tmp_path / "export"), "labels": ["clear", "disease"]}
    told["datasets"]["chest"] = {"data": own, "about": ABOUT | {"counts": "exact"}}
    (site.folder / "site.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    offer = fair.offered["Lisbon/chest"].offer
    assert isinstance(offer, DatasetOffer)
    assert (offer.origin, [span.least for span in offer.cases]) == ("hospital", [14, 9])
    cases = own_cases(site, fair.consortium.plan())
    assert cases.name == "Lisbon"
    assert len(cases.train) + len(cases.validation) + len(cases.test) == 23


def test_a_data_set_in_custody_is_offered_by_the_path_that_the_pages_name(
    fair: Fair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lisbon = fair.consortium.sites["Lisbon"].folder
    custody = Custody(home_of(lisbon))
    custody.begin(tmp_path / "recovery.key")
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 48, size=16))
    settings = yaml.safe_load((lisbon / "site.yaml").read_text(encoding="utf-8"))
    settings["datasets"]["chest"]["data"] = {"kind": "encrypted", "path": "sets/chest"}
    (lisbon / "site.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.chdir(lisbon.parent)
    assert fair.hospital(["catalogue", "offer", "chest", "--yes", "--home", lisbon.name]) == 0
    offer = fair.offered["Lisbon/chest"].offer
    assert isinstance(offer, DatasetOffer)
    assert offer.labels == ("ill", "well")
