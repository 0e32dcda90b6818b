"""What a plan carries from an earlier run: over real folders, foreseen before anybody signs."""

import argparse
from copy import copy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.plans import judge
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.errors import PlanError, PolicyError
from common.plans import carry
from common.plans.plan import RunPlan
from common.trust.documents import sign_document
from server.evaluation import evaluate
from server.evaluation.commands import COMMANDS, draw_up
from server.runs import driver
from server.runs.carrying import Foresight, arrays_of, foresee
from server.runs.evaluated_before import refuse_counted
from server.runs.run import Run
from server.runs.status import describe_run
from tests.consortium.consortium import LEAST, SVM, Consortium, config_of
from tests.runs.test_runs import Hospitals

FIVE = ("Lisbon", "Nairobi", "Osaka", "Quito", "Hanoi")
FOUR, THREE = FIVE[:4], FIVE[:3]
DESCENT: dict[str, Any] = SVM | {
    "data": {"kind": "synthetic", "sites": 6, "cases": 300, "size": 16},
    "model": {"kind": "svm", "solver": "gram-lbfgs", "C": 0.01},
    "federation": {"rounds": 4, "select": "last", "evaluate_every": 4},
    "likeness": True,
}
CNN = ("model={kind: cnn, architecture: plain, width: 4}", "federation={rounds: 1, local: {steps: 2, batch: 8}}")


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)


class Life(Consortium):
    """A consortium that draws plans up as `server run` does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FIVE, tree=DESCENT)
        for site in self.sites.values():
            self.edit(site.folder / "site.yaml", policy={"least": LEAST | {"a_number": 1}})

    def edit(self, path: Path, **sections: Any) -> None:
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text("utf-8")) | sections), encoding="utf-8")

    def foresight(self, cohort: tuple[str, ...], *overrides: str) -> Foresight:
        self.ahead = config_of(self.folder, DESCENT, f"plan.cohort=[{', '.join(cohort)}]", *overrides)
        return foresee(self.home, self.ahead)

    def drawn_up(self, cohort: tuple[str, ...], *overrides: str, anew: bool = False) -> RunPlan:
        ahead = self.foresight(cohort, *overrides) if not anew else Foresight()
        self.foresight_words = ahead.words
        told = config_of(self.folder, DESCENT, f"plan.cohort=[{', '.join(cohort)}]", *overrides)
        plan = RunPlan.from_config(told, self.roster(), self.roots, ahead.source)
        for site in self.sites.values():
            PlanInbox(site).take_plan(plan.document.encode())
        return plan

    def begun_with(self, plan: RunPlan, approving: tuple[str, ...] = ()) -> Run:
        approving = approving or plan.content.cohort
        run = Run.begin(self.home, plan, 0.0, arrays_of(self.home, plan))
        for name in approving:
            decide(self.sites[name], plan, "approve", "")
            self.bring(name, plan)
        run.write_state(replace(run.state, stage="running", cohort=run.begin_with(run.decisions()).sites))
        return run

    def lived(self, cohort: tuple[str, ...], *overrides: str) -> Run:
        run = self.begun_with(self.drawn_up(cohort, *overrides))
        driver.carry_out(run, self.hospitals(run))
        return run

    def hospitals(self, run: Run) -> Hospitals:
        """Those that take part."""
        there = copy(self)
        there.sites = {name: self.sites[name] for name in run.approvals.sites}
        return Hospitals(there, run.plan)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A consortium of which four sites have trained an SVM."""
    patch = pytest.MonkeyPatch()
    patch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    life = Life(tmp_path_factory.mktemp("kept") / "life")
    run = life.lived(FOUR)
    patch.undo()
    assert run.state.stage == "finished", run.state.why
    return life


def parts(plan: RunPlan) -> set[str]:
    assert plan.content.carried
    return {part for part, _ in plan.content.carried.sha256}


@pytest.mark.slow
def test_a_life_with_a_site_that_leaves_one_that_joins_and_a_network_between_keeps_its_sums(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    first = life.lived(FOUR)
    assert set(carry.fingerprints(first.summed)) == {"recipe", "likeness", "distances", "gram"}
    second = life.lived(THREE, *CNN)
    assert second.state.stage == "finished", second.state.why
    assert "would tell Quito's own" in life.foresight_words
    third = life.lived((*THREE, "Hanoi"))
    assert third.state.stage == "finished", third.state.why
    assert parts(third.plan) == {"recipe", "likeness", "distances", "gram"}  # of the first, by way of the second
    assert f"Carried from run {second.name}" in life.foresight_words
    before, after = first.rounds(), third.rounds()
    assert after[-1]["validation"]["auc"] == pytest.approx(before[-1]["validation"]["auc"], abs=0.1)
    COMMANDS["evaluate"].arguments(parser := argparse.ArgumentParser())
    refuse_counted(life.home, (drawn := draw_up(life.home, parser.parse_args([third.name]))).content)
    look = RunPlan(drawn.content, sign_document("plan", drawn.document.content, life.roots))
    for site in life.sites.values():
        PlanInbox(site).take_plan(look.document.encode())
    driver.carry_out(run := life.begun_with(look), life.hospitals(run), evaluate.evaluate)
    assert run.rounds()[-1]["validation"]["auc"] == after[-1]["validation"]["auc"]  # its own model, over its own sites


def test_too_few_who_were_there_are_said_before_anybody_signs(kept: Life) -> None:
    newcomers = tuple(f"New-{letter}" for letter in "abcdef")
    with pytest.raises(PlanError, match=r"only Lisbon of .* was in run small-svm-.*: 3 are needed .*\(unknown-carry\)"):
        kept.foresight(("Lisbon", *newcomers))
    assert kept.foresight((*THREE, *newcomers[:3])).source
    assert kept.foresight(newcomers) == Foresight()  # over others altogether: nobody is told apart


def test_the_same_sites_are_not_asked_again_and_others_are_named(kept: Life) -> None:
    assert "They are not asked again" in kept.foresight(FOUR).words
    assert "would tell Hanoi, Quito' own" in kept.foresight((*THREE, "Hanoi")).words
    assert kept.foresight(FOUR, "preprocess=[{step: normalise, by: image}]") == Foresight()


def test_a_site_asked_anew_over_others_or_with_other_images_says_so_before_it_signs(kept: Life) -> None:
    for cohort, said in ((THREE, "it was over Lisbon, Nairobi, Osaka, Quito"), (FOUR, "its images here")):
        plan, lisbon = kept.drawn_up(cohort, anew=True), kept.sites["Lisbon"]
        before = (lisbon.folder / "site.yaml").read_text("utf-8")
        if cohort == FOUR:
            (lisbon.folder / "site.yaml").write_text(before.replace("cases: 300", "cases: 301"), encoding="utf-8")
        try:
            with pytest.raises(PolicyError, match=said) as refusal:
                decide(lisbon, plan, "approve", "")
        finally:
            (lisbon.folder / "site.yaml").write_text(before, encoding="utf-8")
        assert refusal.value.cause == "repeated-question"
        assert PlanInbox(lisbon).decision(plan) is None


def test_a_run_that_is_not_over_keeps_others_from_its_images_whether_it_has_begun_or_not(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    plan = life.drawn_up(FOUR)
    run = Run.begin(life.home, plan, 3600.0)
    with pytest.raises(PlanError, match=f"run {run.name} asks the same of the same images, and is not over"):
        life.foresight(THREE)
    assert life.foresight(THREE, "plan.dataset=others") == Foresight()
    run.end("stopped", "stopped by the coordinator.")
    assert life.foresight(THREE) == Foresight()  # it came to nothing


@pytest.mark.slow
def test_a_run_stopped_after_its_statistics_hands_them_on_and_one_that_asked_nothing_does_not(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    first = life.begun_with(life.drawn_up(FOUR))
    hospitals = life.hospitals(first)
    course = driver.RunWork.of(first.approvals).course
    aggregator = driver.SecureSum(
        hospitals, life.home.consortium, first.approvals, driver.RunWork.of(first.approvals).question_kinds,
        transcripts=driver.Transcripts(first.folder / "transcripts", retry=driver.until_there_is_room),
    )  # fmt: skip
    state = driver.loop.begin(course, aggregator)
    state = driver.loop.run_round(course, aggregator, state)  # so that the sites are shown the statistics
    first.keep_summed(course.to_carry(state.place))
    first.end("stopped")
    second = life.begun_with(life.drawn_up(THREE))
    second.keep_summed(course.to_carry(state.place))
    second.end("stopped")
    third = life.drawn_up((*THREE, "Hanoi"))
    assert third.content.carried is not None
    assert third.content.carried.name == first.name  # no site ever heard of the second
    assert set(life.begun_with(third).approvals.sites) == {*THREE, "Hanoi"}


def test_an_older_release_left_sums_that_cannot_be_carried_and_that_is_said(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    run = life.lived(FOUR, *CNN)
    (run.folder / "approvals.json").unlink()
    ahead = life.foresight(THREE)
    assert ahead.source is None
    assert f"run {run.name} is of an older release" in ahead.words
    assert "would tell those of Quito" in ahead.words


def test_images_that_changed_after_the_approval_take_the_site_out_with_the_reason(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    plan, osaka = life.drawn_up(FOUR), life.sites["Osaka"]
    run = life.begun_with(plan)
    hospital_site.prepare(osaka, plan)
    before = (osaka.folder / "site.yaml").read_text("utf-8")
    (osaka.folder / "site.yaml").write_text(before.replace("cases: 300", "cases: 310"), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"was approved for \w+, which has other cases") as refusal:
        hospital_site.prepare(osaka, plan)
    assert refusal.value.cause == "changed-images"
    (osaka.folder / "site.yaml").write_text(before, encoding="utf-8")
    assert hospital_site.hospital_site(osaka, plan.digest).site.cases.name == "Osaka"
    assert run.approvals.sites == FOUR


def test_a_model_is_evaluated_again_by_those_who_did_it_before_or_by_others_altogether(kept: Life) -> None:
    (run,) = [run for run in Run.all(kept.home) if run.state.stage == "finished"]
    parser = argparse.ArgumentParser()
    COMMANDS["evaluate"].arguments(parser)

    def drawn_up(cohort: str) -> RunPlan:
        return draw_up(kept.home, parser.parse_args([run.name, "--cohort", cohort]))

    with pytest.raises(PlanError, match=f"evaluated over Lisbon, Nairobi, Osaka, Quito in run {run.name}.*Quito"):
        refuse_counted(kept.home, drawn_up(",".join(THREE)).content)
    lisbon, plan = kept.sites["Lisbon"], drawn_up(",".join(FOUR))
    refuse_counted(kept.home, plan.content)
    signed = RunPlan.load(plan.document.encode())
    before = (lisbon.folder / "site.yaml").read_text("utf-8")
    (lisbon.folder / "site.yaml").write_text(before.replace("cases: 300", "cases: 310"), encoding="utf-8")
    try:
        with pytest.raises(PolicyError, match=r"was evaluated in run small-svm-.* have changed since"):
            decide(lisbon, signed, "approve", "")
    finally:
        (lisbon.folder / "site.yaml").write_text(before, encoding="utf-8")


def test_just_so_many_approvals_as_every_sum_needs_leave_no_site_out_and_that_is_said(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    run = life.begun_with(life.drawn_up(FIVE), FOUR)
    assert "4 of 5 approved: every site must answer every time; draw it up for these 4 to allow 1 dropout." in (
        describe_run(run)
    )
    run.end("stopped")


def test_a_share_of_the_sites_that_could_be_mostly_liars_is_refused_by_coordinator_and_site(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    with pytest.raises(PolicyError, match=r"federation.fraction: 0.5 of 5 sites, expected 0.8 at least") as refusal:
        life.drawn_up(FIVE, CNN[0], "federation={rounds: 2, fraction: 0.5}")
    assert refusal.value.cause == "fraction-too-small"
    plan, lisbon = life.drawn_up(FIVE, CNN[0], "federation={rounds: 2, fraction: 0.8}"), life.sites["Lisbon"]
    assert "policy.fraction of site.yaml expects 1 at least" in judge.objection(lisbon, plan)
    life.edit(lisbon.folder / "site.yaml", policy={"least": LEAST, "fraction": 0.5})
    assert judge.objection(lisbon, plan) == ""
