"""An evaluation of several models is over one division of the cases: the one that each approval names."""

import argparse
from functools import lru_cache
from pathlib import Path

import pytest

from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.errors import ConfigError
from common.plans.plan import RunPlan
from common.trust.documents import sign_document
from server.evaluation import evaluate
from server.evaluation.commands import COMMANDS, draw_up
from server.runs import driver
from server.runs.evaluated_before import refuse_counted
from server.runs.run import Run
from tests.runs.test_carrying import CNN, THREE, Life

IMAGES = ("preprocess=[{step: normalise, by: image}]", "likeness=false")


def drawn_up(life: Life, *runs: Run) -> RunPlan:
    COMMANDS["evaluate"].arguments(parser := argparse.ArgumentParser())
    return draw_up(life.home, parser.parse_args([run.name for run in runs]))


@pytest.mark.slow
def test_models_of_other_seeds_need_plans_of_their_own_and_those_of_one_are_evaluated_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    life = Life(tmp_path / "life")
    one, other, odd = (
        life.lived(THREE, *CNN, *IMAGES, f"name={name}", f"seeds=[{seed}]")
        for name, seed in (("one", 1), ("other", 1), ("odd", 2))
    )
    with pytest.raises(ConfigError, match=r"odd-.* was trained with seed 2, one-.* with 1: .*plans of their own"):
        drawn_up(life, one, odd)
    for models in ((one, other), (odd,)):  # what was answered in the training is answered again, over the same
        plan = drawn_up(life, *models)
        refuse_counted(life.home, plan.content)
        signed = RunPlan(plan.content, sign_document("plan", plan.document.content, life.roots))
        for site in life.sites.values():
            PlanInbox(site).take_plan(signed.document.encode())
        driver.carry_out(run := life.begun_with(signed), life.hospitals(run), evaluate.evaluate)
        assert run.state.stage == "finished", run.state.why
        assert [record["sites"] for record in run.rounds()] == [list(THREE)] * len(models)
