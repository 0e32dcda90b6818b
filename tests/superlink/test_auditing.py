"""Every hospital follows its run through the standard apps, from its own folder, whatever its site.yaml says."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.plans.inbox import PlanInbox
from client.training.audit_store import AuditNotes, FolderStore
from common.algorithms.course import Place
from server.rounds import checkpoint
from tests.consortium.consortium import LEAST, NAMES, SVM, Consortium
from tests.superlink.test_hospitals import CNN, carried, hospitals, same_bits


@pytest.mark.slow
@pytest.mark.parametrize("tree", [CNN, SVM], ids=["cnn-scaffold", "svm-normalised"])
def test_every_hospital_audits_and_ends_at_the_runs_model(
    tree: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    consortium = Consortium(tmp_path)
    for name, audit in zip(NAMES, (True, False), strict=False):  # as an older release read it
        path = consortium.sites[name].folder / "site.yaml"
        path.write_text(
            yaml.safe_dump(
                yaml.safe_load(path.read_text(encoding="utf-8")) | {"policy": {"audit": audit, "least": LEAST}}
            ),
            encoding="utf-8",
        )
    run = consortium.begun(consortium.plan(tree=tree))
    with hospitals(consortium) as grid, caplog.at_level(logging.WARNING, "consilium"):
        carried(consortium, run, grid)
    assert run.state.stage == "finished", run.state.why
    found = checkpoint.load(run.folder / "federated.checkpoint", NAMES, run.plan.digest)
    assert found is not None
    for name in NAMES:
        shelf = FolderStore(PlanInbox(consortium.sites[name]).room(run.plan.digest))
        place = Place.of(shelf.load("place"))
        assert same_bits(place.state, found[0].state)
        assert same_bits(place.normalisation, found[0].normalisation)
        assert AuditNotes.load(shelf).owed == {}
    assert "taken as given" not in caplog.text
