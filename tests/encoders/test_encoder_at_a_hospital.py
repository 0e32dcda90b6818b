"""A hospital with a plan whose images an encoder looks at: what it needs, and what lies on its disk."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from client.dataset import loading
from client.plans import judge, plan_encoders
from client.plans.decide import decide
from client.training import hospital_site
from common import config as configuration
from common.encoders import Encoder, encoder_library
from common.errors import ConfigError, ConsiliumError, EncoderError, PolicyError
from common.plans.plan import RunPlan
from common.plans.plan_page import page
from common.trust.documents import sign_document
from tests.admitted import home_of
from tests.attacks.hospitals import SVM, Hospitals
from tests.custody.hospital import folder_of_dicoms, open_hospital, taken_in
from tests.encoders.conftest import about

STEPS = [{"step": "embed", "encoder": "drawn"}, {"step": "normalise", "by": "federated"}]
NAMES = ("Hanoi", "Lima", "Lisbon")


@pytest.fixture
def hospitals(tmp_path: Path, library: Path) -> Hospitals:
    plan = SVM["plan"] | {"shape": [1, 1, 32]}
    return Hospitals(tmp_path, dict.fromkeys(NAMES, (24, 8)), SVM | {"preprocess": STEPS, "plan": plan})


def test_a_plan_carries_the_digest_and_its_cases_are_embedded(hospitals: Hospitals, encoder: Encoder) -> None:
    plan = hospitals.approved().plan
    assert "a crafted one can make a sum" in " ".join(page(plan).split())
    assert plan.content.training.preprocess[1].model_dump()["sha256"] == encoder.sha256
    site = hospitals.sites["Lima"]
    cases = hospital_site.own_cases(site, plan)
    assert cases.train.images.shape == (24, 1, 1, 32)
    assert np.isfinite(cases.train.images).all()


def test_a_site_without_the_encoder_says_so_and_answers_nothing(
    hospitals: Hospitals, library: Path, encoder: Encoder
) -> None:
    plan, lima = hospitals.approved().plan, hospitals.sites["Lima"]
    assert judge.objection(lima, plan) == ""
    for file in library.glob("*.encoder"):
        file.unlink()
    encoder_library._load.cache_clear()
    why = judge.objection(lima, plan)
    assert "is not on this machine. Add its file, python -m client encoders add FILE" in why
    assert f"If it is in the catalogue: python -m client catalogue take {encoder.sha256[:16]}" in why
    with pytest.raises(ConsiliumError, match="is not on this machine"):
        judge.approved_plan(lima, plan.digest)


def test_a_licence_that_the_policy_does_not_allow_is_refused_before_training(
    hospitals: Hospitals, encoder: Encoder
) -> None:
    plan, lima = hospitals.approved().plan, hospitals.sites["Lima"]
    path = lima.folder / "site.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    for licences, fits in ((["MIT"], False), ([], False), (["*"], True), (["cc0-1.0"], True)):
        settings["policy"]["encoder_licences"] = licences
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        assert ("the licence of encoder drawn is 'CC0-1.0'" in judge.objection(lima, plan)) != fits
    with pytest.raises(PolicyError, match=r"allows Apache-2.0"):
        plan_encoders.refuse_licence(hospitals.sites["Hanoi"], about(licence="research only"))
    for licence in ("GPL-3.0-only OR MIT", "Apache-2.0 AND BSD-3-Clause", "apache-2.0"):
        plan_encoders.refuse_licence(hospitals.sites["Hanoi"], about(licence=licence))
    with pytest.raises(PolicyError, match="licence of encoder drawn is 'MIT AND"):
        plan_encoders.refuse_licence(hospitals.sites["Hanoi"], about(licence="MIT AND GPL-3.0-only"))


def test_what_an_encoder_makes_of_images_in_custody_is_sealed(tmp_path: Path, library: Path) -> None:
    custody = open_hospital(tmp_path / "hospital")
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 8))
    home = custody.home.folder
    tree = {
        "name": "sealed", "data": {"kind": "encrypted", "path": str(home / "sets" / "chest"),
                                   "cache": str(tmp_path / "cache")},
        "sites": {"split": "iid", "count": 1, "validation": 0.0, "test": 0.0}, "preprocess": STEPS,
        "model": {"kind": "svm"},
    }  # fmt: skip
    config = configuration.from_tree(tree, tmp_path / "plan.yaml")
    seen = loading.load(config, 1, "lisbon", home=custody.home).sites[0].train.images
    [path] = [p for p in (tmp_path / "cache" / "prepared").iterdir() if not p.suffix]
    content = path.read_bytes()
    assert len(content) > seen.nbytes
    assert not any(vector[0, 0].tobytes()[:16] in content for vector in seen)
    assert np.array_equal(loading.load(config, 1, "lisbon", home=custody.home).sites[0].train.images, seen)
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])  # a record that was changed is made again
    assert np.array_equal(loading.load(config, 1, "lisbon", home=custody.home).sites[0].train.images, seen)


def test_a_shape_that_the_encoder_does_not_make_is_refused_before_anything_is_signed(hospitals: Hospitals) -> None:
    tree = hospitals.tree | {"plan": hospitals.tree["plan"] | {"shape": [28, 28, 1]}}
    with pytest.raises(EncoderError, match=r"plan.shape: 28×28×1, and encoder drawn makes 1×1×32.*\[1, 1, 32\]"):
        hospitals.plan(tree=tree)
    content = hospitals.plan(tree=hospitals.tree).content.model_copy(update={"shape": (28, 28, 1)})
    plan = RunPlan(content, sign_document("plan", content.model_dump(mode="json"), hospitals.roots))
    assert "makes 1×1×32 of an image" in judge.objection(hospitals.sites["Lima"], plan)


def test_a_site_that_the_data_lack_is_refused_at_approval(hospitals: Hospitals) -> None:
    lima = hospitals.sites["Lima"]
    path = lima.folder / "site.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["datasets"]["chest"]["take"] = "Limaa"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"datasets.chest.take is 'Limaa', expected one of"):
        decide(home_of(lima.folder), hospitals.plan(tree=hospitals.tree), "approve", "")
