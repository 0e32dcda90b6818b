"""Plans with a budget at real hospitals: what they cost before they are approved, what is left, and who says no."""

import json
from argparse import Namespace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.__main__ import main
from client.home import Home
from client.plans import judge, sync
from client.plans.decide import decide
from client.privacy import plan_account
from client.privacy.account_summary import summary
from client.training import hospital_site
from common.errors import PolicyError
from common.plans import plan_page
from common.plans.plan import RunPlan
from server.consortium.site_accounts import SiteAccounts
from server.evaluation.commands import draw_up
from server.gateway.site_api import FolderSiteApi
from server.runs import driver, run_refusals
from server.runs.run import Run
from tests.consortium.consortium import NAMES, SVM, Consortium
from tests.runs.test_runs import Hospitals

BUDGET = {"epsilon": 3.0, "delta": 1e-5, "of": "image"}
PRIVATE: dict[str, Any] = {
    "name": "private",
    "data": {"kind": "synthetic", "sites": 3, "cases": 40, "size": 16},
    "sites": {"split": "natural"},
    "preprocess": [],
    "model": {"kind": "svm", "features": "unit", "loss": "logistic"},
    "privacy": BUDGET,
    "baselines": [],
    "personalise": {"mix": False, "ridge": False},
    "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [16, 16, 1]},
}


class Gateway:
    """The coordinator's folder, as a site reaches it."""

    def __init__(self, consortium: Consortium, site: str) -> None:
        self.consortium, self.site = consortium, site

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None: ...

    def board(self) -> dict[str, Any]:
        return FolderSiteApi(self.consortium.home).roster_and_plans(self.site)

    def decision(self, content: dict[str, Any]) -> dict[str, Any]:
        return FolderSiteApi(self.consortium.home).take_decision(self.site, content)

    def history(self, content: dict[str, Any]) -> dict[str, Any]:
        return FolderSiteApi(self.consortium.home).log_head(self.site, json.loads(json.dumps(content)))


@pytest.fixture
def consortium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Consortium:
    made = Consortium(tmp_path, tree=PRIVATE)
    monkeypatch.setattr(sync, "gateway_of", lambda home: Gateway(made, home.site))
    # Here all hospitals share a process.
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    return made


def rule(home: Home, **rules: object) -> None:
    path = home.folder / "site.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["policy"]["privacy"] = rules
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")


def carry_out(consortium: Consortium, plan: RunPlan) -> Run:
    run = consortium.begun(plan)
    driver.carry_out(run, Hospitals(consortium, plan))
    return run


def test_hospitals_pay_for_every_answer_of_a_run_until_nothing_is_left(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    for home in consortium.sites.values():
        rule(home, epsilon=4.0, delta=1e-5)
    run = carry_out(consortium, consortium.plan(tree=PRIVATE))
    assert run.state.stage == "finished", run.state.why
    lisbon = consortium.sites["Lisbon"]
    accounts = summary(lisbon)
    by_part = {row.part: row for row in accounts.accounts}
    assert by_part["training"].epsilon == pytest.approx(3.0, abs=1e-6)
    assert by_part["validation"].epsilon == pytest.approx(3.0, abs=1e-6)
    rest = by_part["training"].rest
    assert rest is not None
    assert 0 < rest < 3
    assert {plan.answers for plan in accounts.plans} == {22, 1}
    for name in NAMES:
        word = SiteAccounts(consortium.home).of(name)
        assert word is not None
        assert word.rest["chest"].rest == pytest.approx(rest)
    lisbon.log.verify()

    second = consortium.plan(tree=PRIVATE | {"name": "second"})
    with pytest.raises(PolicyError, match="the budget of this hospital") as refusal:
        decide(lisbon, second, "approve", "")
    assert refusal.value.cause == "over-budget"
    assert f"{rest:.3f} is left: a plan of at most that fits" in str(refusal.value)
    assert f"a plan of ε {rest:.3f} at most fits" in run_refusals.words(run)["over-budget"]
    assert main(["plans", second.name, "--home", str(lisbon.folder)]) == 0
    page = capsys.readouterr().out
    assert "PRIVACY  ε 3 at δ 1e-05 for each image" in page
    assert "whoever of them has paid most, ε 3.000; this plan ε 3" in page
    assert "It does not fit" in page

    fitting = PRIVATE | {"name": "third", "privacy": BUDGET | {"epsilon": round(rest, 3) - 0.01}}
    run = carry_out(consortium, consortium.plan(tree=fitting))
    assert run.state.stage == "finished", run.state.why
    assert summary(lisbon).accounts[0].rest == pytest.approx(0.0, abs=0.2)


def test_hospitals_train_a_network_under_a_budget_and_pay_for_it_as_a_whole(consortium: Consortium) -> None:
    network = {"model": {"kind": "cnn", "width": 4}, "federation": {"rounds": 3, "local": {"steps": 2}}}
    plan = consortium.plan(tree=PRIVATE | network)
    run = carry_out(consortium, plan)
    assert run.state.stage == "finished", run.state.why
    lisbon = consortium.sites["Lisbon"]
    accounts = {row.part: row for row in summary(lisbon).accounts}
    assert accounts["training"].epsilon == pytest.approx(3.0, abs=1e-6)
    assert {plan.answers for plan in summary(lisbon).plans} == {3, 1}
    lisbon.log.verify()
    assert "2 × train of 2 steps, each over a patient in 4" in " ".join(plan_page.page(plan).split())
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    assert result["privacy"]["spent"]["training"] == pytest.approx(3.0)
    assert result["privacy"]["mechanism"].startswith("DP-SGD at every site")
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert report.count("No figures: with the budget's noise, fewer than 100 validation cases are counted") == 2
    assert ", 0 validation cases" not in report
    assert "they flatter" not in report

    asked = Namespace(models=[run.name], fingerprint=None, name="again", dataset=None, cohort="", purpose=None, days=30)
    evaluation = draw_up(consortium.home, asked)
    plan_account.refuse_unbounded(lisbon, evaluation)
    rule(lisbon, epsilon=4.0, required=True)
    with pytest.raises(PolicyError, match="an evaluation of finished models counts exactly") as refusal:
        plan_account.refuse_unbounded(lisbon, evaluation)
    assert refusal.value.cause == "no-budget"


def test_a_budget_that_ends_in_the_middle_of_a_run_ends_the_run_and_says_why(consortium: Consortium) -> None:
    plan = consortium.plan(tree=PRIVATE)
    run = consortium.begun(plan)
    for home in consortium.sites.values():
        rule(home, epsilon=1.5, delta=1e-5)
    driver.carry_out(run, Hospitals(consortium, plan))
    assert run.state.stage == "failed"  # no gradient was answered: there is no model
    assert "left are Lisbon ε 1.1" in run.state.why
    for home in consortium.sites.values():
        assert summary(home).accounts[0].epsilon <= 1.5


def test_a_hospital_may_require_a_budget_of_every_plan(consortium: Consortium) -> None:
    lisbon = consortium.sites["Lisbon"]
    exact = consortium.plan(tree=SVM | {"privacy": "none"})
    assert not judge.objection(lisbon, exact)
    rule(lisbon, epsilon=3.0, required=True)
    assert "requires one" in judge.objection(lisbon, exact)
    assert not judge.objection(lisbon, consortium.plan(tree=PRIVATE))


def test_a_plan_without_a_budget_says_first_that_there_is_no_bound(consortium: Consortium) -> None:
    for privacy in ({"privacy": "none"}, {}):
        page = plan_page.page(consortium.plan(tree=SVM | privacy | {"name": f"n{len(privacy)}"}))
        assert page.startswith("NO BOUND ON PRIVACY  This plan has no budget: nothing bounds what its sums")
    page = plan_page.page(consortium.plan(tree=PRIVATE))
    assert page.startswith("PRIVACY  ε 3 at δ 1e-05 for each image")
    assert "20 × gradient" in page
    assert "No noise" not in page
    assert "exact" not in page.partition("SETTINGS")[0]
