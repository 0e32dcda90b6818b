"""Evaluations in a real federation: counts add up to what plain computation gives, and no site's own leave unbidden."""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.plans import judge
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.errors import ConfigError, IdentityError, PlanError, PolicyError, RunError
from common.messages.transport import Answer, Reply, Request
from common.metrics import performance
from common.package import load_verified_package
from common.plans import approvals, plan_page
from common.plans.approvals import Approvals
from common.plans.plan import Carried, RunPlan
from common.plans.site_figures import ASKED
from common.trust.documents import sign_document
from common.types import Tensors, under
from server.comparison import comparison_page
from server.evaluation import commands, evaluate, model_store
from server.export.model_card import CardTerms
from server.export.package import SigningPublisher, export
from server.results.cross_site import summed
from server.runs import driver
from server.runs.evaluated_before import refuse_counted
from server.runs.run import Run
from simulate import main as simulate
from tests.consortium.consortium import SVM, Consortium
from tests.runs.test_runs import Hospitals, Snapshots

FIVE = ("Hanoi", "Lisbon", "Nairobi", "Osaka", "Quito")
SMALLER = {"step": "resize", "size": [8, 8]}
TREE = SVM | {
    "data": SVM["data"] | {"sites": 6},
    "preprocess": [SMALLER, *SVM["preprocess"]],
    "plan": SVM["plan"] | {"shape": [8, 8, 1]},
    "federation": SVM["federation"] | {"rounds": 3},
}


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all of them share a process; in life each has one, which keeps one plan's images."""
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(evaluate, "AGAIN_S", 0.01)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """Five hospitals that have trained two models, and a third, of other images, without the last of them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
        consortium = Consortium(tmp_path_factory.mktemp("trained") / "life", FIVE, tree=TREE)
        runs = list[Run]()
        for name, sites in (("one", FIVE), ("two", FIVE), ("of-four", FIVE[:4])):
            other = (
                ["model.C=1.0"]
                if name == "two"
                else ["preprocess=[{step: resize, size: [8, 8]}]"]
                if sites != FIVE
                else []
            )
            elsewhere = None if sites == FIVE else Carried(name=runs[0].name, plan=runs[0].plan.digest, sha256=())
            plan = consortium.plan(f"name={name}", *other, tree=TREE, carried=elsewhere)
            runs.append(run := consortium.begun(plan, *sites))
            way = Hospitals(consortium, plan)
            way._answers = {site: way._answers[site] for site in sites}
            driver.carry_out(run, way)
            assert run.state.stage == "finished", run.state.why
    return consortium


@pytest.fixture
def consortium(trained: Consortium, tmp_path: Path) -> Consortium:
    """A copy for one test."""
    shutil.copytree(trained.folder, tmp_path / "life")
    return trained.at(tmp_path / "life")


def run_of(consortium: Consortium, name: str) -> Run:
    return Run.find(consortium.home, name)


class Asked(Hospitals):
    """Hospitals, with everything that was asked of each."""

    def __init__(self, consortium: Consortium, plan: RunPlan) -> None:
        super().__init__(consortium, plan)
        self.heard: list[tuple[str, str]] = []
        self.errors: list[str] = []

    def answer(self, name: str) -> Answer:
        inner = super().answer(name)

        def answer(request: Request, state: Tensors) -> Any:
            self.heard.append((name, request.kind))
            try:
                return inner(request, state)
            except Exception as error:
                self.errors.append(f"{name}: {error}")
                raise

        return answer


def evaluated(
    consortium: Consortium, *models: str, between: Callable[[Asked], None] = lambda _: None, **options: str
) -> tuple[Run, Asked]:
    plan = drawn_up(consortium, *models, **options)
    run = consortium.begun(plan, *plan.content.cohort)
    way = Asked(consortium, plan)
    way._answers = {name: way._answers[name] for name in run.state.cohort}
    between(way)
    driver.carry_out(run, way, evaluate.evaluate)
    return run, way


def drawn_up(consortium: Consortium, *models: str, **options: str) -> RunPlan:
    consortium.roster()
    told = {
        "name": "look",
        "dataset": None,
        "cohort": "",
        "purpose": None,
        "days": 30.0,
        "root": None,
        "fingerprint": None,
    }
    drawn = commands.draw_up(consortium.home, Namespace(models=models, **told | options))
    plan = RunPlan(drawn.content, sign_document("plan", drawn.document.content, consortium.roots))
    for site in consortium.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
    return plan


def publish(consortium: Consortium, *names: str) -> None:
    for name in names:
        path = consortium.sites[name].folder / "site.yaml"
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        told["policy"] = (told.get("policy") or {}) | {"publish": ["figures"]}
        path.write_text(yaml.safe_dump(told), encoding="utf-8")


def plain(consortium: Consortium, run: Run, site: str, model: Any) -> Tensors:
    """What a site would count, computed without any of the protocol."""
    home = consortium.sites[site]
    member = hospital_site.prepare(home, judge.approved_plan(home, run.plan.digest)).site.by_model[model.sha256]
    arrays = model_store.arrays(consortium.home, model)
    cases = member.ready("validation", under("recipe", arrays))
    return performance.count(member.model.scores(under("weights", arrays), cases.images), cases.labels)


def result_of(run: Run) -> dict[str, Any]:
    assert run.state.stage == "finished", run.state.why
    return dict(json.loads((run.folder / "result.json").read_text(encoding="utf-8")))


def done(run: Run) -> evaluate.EvaluationProgress:
    return evaluate.EvaluationProgress.load(run.folder / "evaluation.checkpoint", run.plan.digest)


def test_a_row_is_the_sum_of_what_plain_computation_counts_at_every_site(consortium: Consortium) -> None:
    one, two = run_of(consortium, "one"), run_of(consortium, "two")
    run, way = evaluated(consortium, one.name, two.name)
    result = result_of(run)
    for model in run.plan.content.models:
        expected = summed({site: plain(consortium, run, site, model) for site in FIVE})
        found = done(run).sums[model.sha256]
        for name in ("n", "correct", "confusion", "histogram"):
            assert np.array_equal(found[name], expected[name]), name
        assert result["cross_site"]["all"][model.name]["n"] == expected["n"][0]
    assert result["cross_site"]["models"] == [one.name, two.name]
    assert (result["cross_site"]["sites"], result["cross_site"]["cells"]) == ([], {one.name: {}, two.name: {}})
    assert not [kind for _, kind in way.heard if not kind.startswith("secagg/")]
    assert b"Nothing was trained" in (run.folder / "report.html").read_bytes()
    training = json.loads((one.folder / "result.json").read_text(encoding="utf-8"))
    assert result["cross_site"]["all"][one.name]["n"] == training["validation"]["n"]


# --- who is asked, and with what ------------------------------------------------------------------------------------


def test_a_site_that_refused_is_sent_nothing(consortium: Consortium) -> None:
    plan = drawn_up(consortium, "of-four", cohort=",".join(FIVE))
    assert "Nothing is trained" in plan_page.page(plan)
    assert plan.content.models[0].recipe in plan_page.page(plan)
    decide(consortium.sites["Quito"], plan, "refuse", "no")
    run = consortium.begun(plan, *FIVE[:4])
    consortium.bring("Quito", plan)
    way = Asked(consortium, plan)
    way._answers.pop("Quito")
    driver.carry_out(run, way, evaluate.evaluate)
    assert result_of(run)["sites"] == list(FIVE[:4])
    assert "Quito" not in {name for name, _ in way.heard}
    with pytest.raises(PlanError, match="is not approved here"):
        Hospitals(consortium, plan).answer("Quito")(Request("secagg/present", 0), {})


def test_other_weights_than_the_plan_names_are_not_run(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    model = run_of(consortium, "one")
    true = model_store.arrays

    def other(home: Any, told: Any) -> Tensors:
        found = {name: array.copy() for name, array in true(home, told).items()}
        next(a for n, a in found.items() if n.startswith("weights/"))[..., :1] += 1e-6
        return found

    monkeypatch.setattr(model_store, "arrays", other)
    run, way = evaluated(consortium, model.name)
    assert (run.state.stage, "5 of 5 refused: other-weights (" in run.state.why) == ("failed", True)
    assert any("expected one of those that the approved plan names" in error for error in way.errors)
    shutil.rmtree(consortium.home.folder / "models")
    monkeypatch.undo()
    with pytest.raises(RunError, match="cannot be read"):
        model_store.arrays(consortium.home, run.plan.content.models[0])


def test_a_plan_that_evaluates_answers_no_training(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    run, _ = evaluated(consortium, model.name)
    site = consortium.sites["Lisbon"]
    with pytest.raises(PolicyError, match="the approved plan only evaluates"):
        hospital_site.prepare(site, run.plan).site.contribute(Request("train", 0), {})
    with pytest.raises(PolicyError, match="in the clear, which this site does not answer"):
        Hospitals(consortium, run.plan).answer("Lisbon")(Request("evaluate", 0), {})


def test_models_must_tell_the_same_classes_apart_and_be_finished_trainings(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    with pytest.raises(ConfigError, match="a model twice"):
        drawn_up(consortium, model.name, model.name)
    waiting = consortium.begun(consortium.plan("name=waiting", tree=TREE))
    with pytest.raises(RunError, match="expected a run that has finished"):
        drawn_up(consortium, waiting.name)
    run, _ = evaluated(consortium, model.name)
    with pytest.raises(RunError, match="is an evaluation"):
        drawn_up(consortium, run.name)
    with pytest.raises(RunError, match="of an evaluation, which compares its models itself"):
        comparison_page.read(run.folder)


def test_a_package_of_a_run_is_the_same_model_as_the_run(consortium: Consortium, tmp_path: Path) -> None:
    run = run_of(consortium, "one")
    file = export(
        run.folder, SigningPublisher("pilot", consortium.roots, consortium.home), CardTerms("research", "none", {})
    )
    (path := tmp_path / "shared.consilium").write_bytes(file)
    with pytest.raises(ConfigError, match="--dataset: a package does not say on which"):
        drawn_up(consortium, str(path))
    with pytest.raises(ConfigError, match="a model twice"):
        drawn_up(consortium, run.name, str(path))
    (known,) = drawn_up(consortium, run.name).content.models
    (packed,) = drawn_up(consortium, str(path), dataset="chest").content.models
    assert (packed.recipe, packed.threshold, packed.shape) == (known.recipe, known.threshold, known.shape)
    assert packed.looks  # of a package distances are asked; of a run's own model its sites have answered them
    assert not known.looks
    done_, _ = evaluated(consortium, str(path), dataset="chest")
    (row,) = result_of(done_)["cross_site"]["all"].values()
    assert row["n"] == json.loads((run.folder / "result.json").read_text(encoding="utf-8"))["validation"]["n"]


def test_a_package_of_others_is_taken_once_its_fingerprint_is_confirmed(consortium: Consortium, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    out = tmp_path / "run"
    small = ["data.sites=3", "data.cases=40", "data.size=16", "federation.rounds=3", "baselines=[]", "preprocess=[]"]
    more = ["personalise.mix=false", "cross_site=false"]
    assert simulate(["configs/demo-svm.yaml", "--out", str(out), *small, *more]) == 0
    file = export(out, SigningPublisher("others", [key]), CardTerms("research", "none", {}))
    (path := tmp_path / "others.consilium").write_bytes(file)
    with pytest.raises(IdentityError, match="'others' is not this consortium, and its fingerprint was not confirmed"):
        drawn_up(consortium, str(path), dataset="chest", fingerprint="00000 " * 6)
    digits = load_verified_package(file, "it").fingerprint
    options = {"dataset": "chest", "fingerprint": digits}
    near, _ = evaluated(consortium, str(path), **options)
    assert near.state.why.startswith("4 of 5 refused: repeated-question"), "four of them have trained without the fifth"
    for site in consortium.sites.values():
        shutil.rmtree(PlanInbox(site).room(run_of(consortium, "of-four").plan.digest))
    run, _ = evaluated(consortium, str(path), **options)
    assert result_of(run)["cross_site"]["models"] == [load_verified_package(file, "it").content.name]
    assert sorted(result_of(run)["sites"]) == list(FIVE)


# --- publishing -----------------------------------------------------------------------------------------------------


def test_a_site_that_publishes_gets_a_column_and_no_other_does(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    publish(consortium, "Lisbon", "Osaka")
    run, way = evaluated(consortium, model.name)
    told, (named,) = result_of(run)["cross_site"], run.plan.content.models
    assert (told["sites"], sorted(told["cells"][model.name])) == (["Lisbon", "Osaka"], ["Lisbon", "Osaka"])
    assert sorted(name for name, kind in way.heard if kind == ASKED) == ["Lisbon", "Osaka"]
    for site in ("Lisbon", "Osaka"):
        expected, found = plain(consortium, run, site, named), done(run).cells[named.sha256, site]
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
    every = summed({site: plain(consortium, run, site, named) for site in FIVE})
    assert np.array_equal(done(run).sums[named.sha256]["histogram"], every["histogram"])
    papers = sorted(path.name for path in (run.folder / "published").iterdir())
    assert papers == [f"{named.sha256[:16]}-{site}.json" for site in ("Lisbon", "Osaka")]


def test_a_site_whose_policy_says_nothing_gives_its_figures_to_nobody(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    run, _ = evaluated(consortium, model.name)
    (named,) = run.plan.content.models
    asked = replace(named.question(model_store.arrays(consortium.home, named), 0), kind=ASKED)
    with pytest.raises(PolicyError, match=r"which policy\.publish in site\.yaml does not allow"):
        Hospitals(consortium, run.plan).answer("Quito")(asked, {})
    publish(consortium, "Quito")  # after it had approved without
    with pytest.raises(PolicyError, match="or did not when the plan was approved"):
        Hospitals(consortium, run.plan).answer("Quito")(asked, {})
    decide(consortium.sites["Quito"], run.plan, "approve", "")  # and after the sum was unmasked
    with pytest.raises(PolicyError, match="in no sum of this plan"):
        Hospitals(consortium, run.plan).answer("Quito")(asked, {})
    training = run_of(consortium, "one").plan
    with pytest.raises(PolicyError, match="'evaluation/figures' in the clear, which this site does not answer"):
        Hospitals(consortium, training).answer("Quito")(asked, {})
    assert not list(consortium.sites["Quito"].folder.glob("published/*"))


def test_a_policy_that_no_longer_publishes_ends_it_at_once(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    publish(consortium, "Quito")
    plan = drawn_up(consortium, model.name)
    run = consortium.begun(plan)
    path = consortium.sites["Quito"].folder / "site.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("- figures", "[]").replace("publish:\n  []", "publish: []"),
        encoding="utf-8",
    )
    driver.carry_out(run, Asked(consortium, plan), evaluate.evaluate)
    assert result_of(run)["cross_site"]["cells"] == {model.name: {}}


@pytest.mark.parametrize("many", [3, 4])
def test_a_sum_is_refused_that_published_figures_would_take_apart(many: int, consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    publish(consortium, *FIVE[:many])
    run, way = evaluated(consortium, model.name)
    assert run.state.stage == "failed"
    assert "all others publish their figures" in run.state.why
    assert way.heard == []


def test_where_all_publish_nothing_is_hidden_and_nothing_refused(consortium: Consortium) -> None:
    publish(consortium, *FIVE)
    run, _ = evaluated(consortium, "one")
    (row,) = result_of(run)["cross_site"]["cells"].values()
    assert sorted(row) == list(FIVE)


def test_every_site_holds_the_rule_itself_against_a_coordinator_that_does_not(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = run_of(consortium, "one")
    publish(consortium, *FIVE[:3])
    monkeypatch.setattr(evaluate, "refuse_lone_figures", lambda *_: None)
    run, way = evaluated(consortium, model.name)
    assert run.state.stage == "failed"
    assert "secagg/submit" not in {kind for _, kind in way.heard}
    assert sum("all others publish their figures" in error for error in way.errors) >= len(FIVE)


def test_a_dropout_that_leaves_too_few_hidden_ends_the_sum_before_it_is_unmasked(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    publish(consortium, "Lisbon", "Nairobi")

    def silence(way: Asked) -> None:
        inner = way._answers["Quito"]
        way._answers["Quito"] = lambda r, s: (Reply({}), s) if r.kind == "secagg/submit" else inner(r, s)

    run, way = evaluated(consortium, model.name, between=silence)
    assert run.state.stage == "failed"
    kinds = {kind for _, kind in way.heard}
    assert "secagg/agree" in kinds
    assert not {"secagg/release", ASKED} & kinds
    assert any("Hanoi, Osaka in it all others publish" in error for error in way.errors)


@pytest.mark.parametrize("shown", ["old", "unbound", "missing"])
def test_a_coordinator_that_shows_some_sites_other_approvals_gets_no_sum(shown: str, consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    plan = drawn_up(consortium, model.name)
    run = consortium.begun(plan)
    before = run.decisions()
    publish(consortium, "Quito")
    decide(consortium.sites["Quito"], plan, "approve", "")
    consortium.bring("Quito", plan)
    told = {"old": before, "unbound": run.decisions(), "missing": {k: v for k, v in before.items() if k != "Osaka"}}

    def told_otherwise(way: Asked) -> None:
        for name in ("Hanoi", "Lisbon", "Quito"):
            inner = way._answers[name]

            def answer(request: Request, state: Tensors, inner: Any = inner) -> Any:
                other = {
                    **request.tensors,
                    approvals.NAME: np.frombuffer(Approvals(plan, told[shown]).encode(), np.uint8),
                }
                return inner(replace(request, tensors=other) if request.kind == "secagg/join" else request, state)

            way._answers[name] = answer

    way = Asked(consortium, plan)
    if shown != "unbound":  # else the sum's keys are bound to the old ones
        run.begin_with(run.decisions())
    told_otherwise(way)
    driver.carry_out(run, way, evaluate.evaluate)
    assert run.state.stage == "failed"
    assert "secagg/submit" not in {kind for _, kind in way.heard}


def test_two_sums_of_one_model_over_sites_that_differ_are_refused_also_across_training_and_plans(
    consortium: Consortium,
) -> None:
    model = run_of(consortium, "one")
    run, way = evaluated(consortium, model.name, cohort=",".join(FIVE[:4]))
    assert run.state.stage == "failed"
    told = f"4 of 4 refused: repeated-question (over other sites than in run {model.name})."
    assert run.state.why.startswith(told)
    assert [kind for _, kind in way.heard].count("secagg/submit") == 4  # asked once: they would refuse it again
    assert any("but for Quito: two sums" in error for error in way.errors)


def test_over_the_sites_of_its_training_a_model_counts_what_it_counted_then(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    again, _ = evaluated(consortium, model.name)
    training = json.loads((model.folder / "result.json").read_text(encoding="utf-8"))["counts"]["validation"]
    assert result_of(again)["counts"][model.name]["by_class"] == training["by_class"]


def test_an_evaluation_over_almost_the_same_sites_as_another_is_refused(consortium: Consortium) -> None:
    first, _ = evaluated(consortium, "one")
    near, own = (drawn_up(consortium, name, cohort=",".join(FIVE[:4])) for name in ("two", "of-four"))
    lisbon = consortium.sites["Lisbon"]
    assert f"has the sites and images of {first.name} but for Quito" in judge.objection(lisbon, near)
    others = near.content.models[0].model_copy(update={"name": "others-1", "sha256": "0" * 64})
    with pytest.raises(PlanError, match=r"has evaluated models over Hanoi.* could tell how it does at Quito"):
        refuse_counted(consortium.home, near.content.model_copy(update={"models": (others,)}))
    for plan in (first.plan, own):  # what it was trained over counts nothing new
        assert not judge.objection(lisbon, plan)
        refuse_counted(consortium.home, plan.content)


def test_who_published_once_declares_it_ever_after(consortium: Consortium) -> None:
    model = run_of(consortium, "one")
    publish(consortium, "Lisbon", "Nairobi")
    evaluated(consortium, model.name)
    for name in ("Lisbon", "Nairobi"):
        path = consortium.sites[name].folder / "site.yaml"
        path.write_text(
            path.read_text(encoding="utf-8").replace("- figures", "[]").replace("publish:\n  []", "publish: []"),
            encoding="utf-8",
        )
    publish(consortium, "Osaka")
    run, way = evaluated(consortium, model.name)
    assert "all others publish their figures" in run.state.why  # what is left would be Hanoi and Quito
    assert way.heard == []


# --- interruptions --------------------------------------------------------------------------------------------------


def test_a_silent_site_is_left_out_of_the_sum(consortium: Consortium) -> None:
    def away(way: Asked) -> None:
        way._answers["Quito"] = lambda request, state: (Reply({}), state)

    run, _ = evaluated(consortium, "of-four", cohort=",".join(FIVE), between=away)
    (record,) = run.rounds()
    assert (record["sites"], record["dropped"], record["void"]) == (list(FIVE[:4]), ["Quito"], False)
    (cell,) = result_of(run)["cross_site"]["all"].values()
    assert cell["n"] == record["validation"]["n"]


@pytest.mark.slow
def test_a_coordinator_killed_between_any_two_writes_ends_with_the_same_matrix(
    consortium: Consortium, tmp_path: Path
) -> None:
    one, two = run_of(consortium, "one"), run_of(consortium, "two")
    publish(consortium, "Lisbon")
    plan = drawn_up(consortium, one.name, two.name)
    run = consortium.begun(plan)
    with pytest.MonkeyPatch.context() as patched:
        snapshots = Snapshots(consortium.folder, tmp_path / "after", patched)
        driver.carry_out(run, Asked(consortium, plan), evaluate.evaluate)
    expected = result_of(run)["cross_site"]
    assert len(snapshots.taken) > 8
    for folder in snapshots.taken[:: max(1, len(snapshots.taken) // 3)]:
        world = consortium.at(folder)
        again = Run.find(world.home, plan.name)
        driver.carry_out(again, Asked(world, plan), evaluate.evaluate)
        assert result_of(again)["cross_site"] == expected


@pytest.mark.slow
def test_models_of_other_kinds_shapes_and_preprocessing_are_evaluated_side_by_side(consortium: Consortium) -> None:
    tree = TREE | {
        "model": {"kind": "cnn", "width": 4},
        "preprocess": [{"step": "resize", "size": [12, 12]}],
        "federation": {"rounds": 1, "local": {"steps": 1, "batch": 8}},
        "likeness": False,
        "plan": TREE["plan"] | {"shape": [12, 12, 1]},
    }
    run = consortium.begun(consortium.plan("name=net", tree=tree))
    driver.carry_out(run, Hospitals(consortium, run.plan))
    look, _ = evaluated(consortium, run.name, "one")
    for model in look.plan.content.models:
        expected = summed({site: plain(consortium, look, site, model) for site in FIVE})
        found = done(look).sums[model.sha256]
        assert all(np.array_equal(found[name], expected[name]) for name in ("n", "confusion", "histogram"))
    told = result_of(look)
    assert [(m["kind"], m["shape"]) for m in told["models"]] == [("cnn", [12, 12, 1]), ("svm", [8, 8, 1])]
    assert told["cross_site"]["all"][run.name]["auc"] == run_of(consortium, "net").rounds()[0]["validation"]["auc"]
