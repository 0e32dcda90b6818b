"""A plan whose rounds ask a share of its sites: what is asked of whom, and what its page and its result say of that."""

import json
from functools import lru_cache
from pathlib import Path

import pytest

from client.training import hospital_site
from common.config import Federation
from common.plans import binding, plan_page
from server.runs import driver
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.runs.test_runs import Hospitals as Answering

SHARE = CNN | {"federation": {"rounds": 2, "fraction": 0.6}, "preprocess": [{"step": "normalise", "by": "federated"}]}


def test_statistics_and_evaluations_are_over_everybody_training_over_the_draw_and_all_of_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    hospitals = Hospitals(tmp_path, dict.fromkeys(SIX, (20, 8)), SHARE, {"fraction": 0.6})
    plan = hospitals.plan(tree=SHARE)
    run = hospitals.begun(plan)
    driver.carry_out(run, Answering(hospitals, plan))
    assert run.state.stage == "finished", run.state.why
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    assert result["statistics"]["sites"] == list(SIX)
    assert [len(record["sites"]) for record in run.rounds()] == [4, 4]
    assert all(record["judges"] == list(SIX) for record in run.rounds())
    assert result["secure_aggregation"] == {"on": True, "sites": 6, "least_in_a_sum": 4}  # of all it would be 5
    page = plan_page.page(plan)
    assert "these sums alone, each over 5 of the 6 sites at least:" in page
    assert "training at 4 at least of the 4 sites that a round draws, each round" in page


@pytest.mark.parametrize("sites", range(3, 31))
def test_the_least_that_is_stated_is_the_least_of_every_draw_and_no_more_than_of_all(sites: int) -> None:
    for hundredths in range(5, 101, 5):
        plan = Federation(fraction=hundredths / 100, rounds=1)
        drawn = plan.draw([f"{i:02}" for i in range(sites)], 1, 0, binding.least_draw(sites))
        stated = binding.least_in_a_sum(plan, sites)
        assert len(drawn) == binding.drawn_of(plan, sites)
        assert (
            stated == binding.threshold_of(sites, len(drawn), is_drawn=len(drawn) < sites) <= binding.threshold(sites)
        )
