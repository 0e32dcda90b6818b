"""What a hospital's own check finds in its images is on its screen and in its log, and nowhere else."""

import json
import logging
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from client.dataset.for_plan import own_cases, own_rows
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.service import ResidentProcess
from client.setup import preflight
from tests.consortium.consortium import Consortium
from tests.dataset.textures import folder_of, jpeg, save, texture


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Lisbon has a folder of PNGs, four of a person, and one of them once more as a JPEG."""
    consortium = Consortium(tmp_path)
    folder_of(tmp_path / "images", lambda i: f"patient{i // 4:03d}_{i % 4}.png", 80)
    save(tmp_path / "images/ill/sousa.jpg", jpeg(texture(7, 24)))
    settings = consortium.sites["Lisbon"].folder / "site.yaml"
    tree = yaml.safe_load(settings.read_text(encoding="utf-8"))
    own = {"kind": "folder", "path": str(tmp_path / "images"), "groups": {"well": "clear", "ill": "disease"}}
    tree["datasets"]["chest"] = {"data": own | {"labels": ["clear", "disease"], "cache": str(tmp_path / "cache")}}
    settings.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return consortium


def test_warnings_are_at_the_site_and_its_decision_tells_nothing_of_them(
    consortium: Consortium, caplog: pytest.LogCaptureFixture
) -> None:
    site, plan = consortium.sites["Lisbon"], consortium.plan("preprocess=[{step: resize, size: 16}]")
    decide(site, plan, "approve", "")
    warnings = own_cases(site, plan).warnings
    assert r"data.patients: 'patient(\d+)'" not in warnings[0]  # sousa.jpg does not fit
    assert "no patient is known for 81 cases" in warnings[0]
    (twins,) = [text for text in warnings if text.startswith("1 pairs of images are nearly the same")]
    assert "sousa.jpg" in twins
    with caplog.at_level(logging.WARNING, "consilium"):
        ResidentProcess(site)._report_images(plan)
    assert [record.getMessage() for record in caplog.records] == [f"data set chest: {text}" for text in warnings]
    with (consortium.folder / "screen").open("w", encoding="utf-8") as screen:
        preflight.check(site, Console(file=screen, width=1000))
    assert twins in (consortium.folder / "screen").read_text(encoding="utf-8")
    decision = PlanInbox(site).decision(plan)
    assert decision is not None
    for word in ("sousa", "nearly", "patient", "warn"):
        assert word not in decision.document.encode().decode().lower()
    (entry,) = [e for e in map(json.loads, site.log.lines()) if e["what"] == "images read"]
    assert entry["facts"]["warnings"] == len(warnings)


def test_the_cases_that_an_approval_binds_to_are_the_same_each_time(consortium: Consortium) -> None:
    site, plan = consortium.sites["Lisbon"], consortium.plan("preprocess=[{step: resize, size: 16}]")
    rows = own_rows(site, plan)
    assert rows == own_rows(site, plan)
    digests = [digest for digest, *_ in rows]
    parts = {row[2] for row in rows if digests.count(row[0]) > 1}
    assert len(parts) <= 1
