"""What hospitals refuse is called refused, with site and reason, wherever a run is spoken of."""

import io
import logging
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.storage.files import read_json
from server.dashboard import live_page
from server.runs import driver, run_display
from server.runs.run import Run
from server.superlink.flower_transport import FlowerTransport
from tests.consortium.consortium import SVM, Consortium
from tests.dashboard.served import alive
from tests.superlink.test_hospitals import CNN, hospitals, nodes

FOUR = ("Lisbon", "Nairobi", "Osaka", "Quito")
THREE = FOUR[:3]
SYNTHETIC = {"data": SVM["data"] | {"sites": 4}}
TOLD = "3 of 3 refused: repeated-question (over other sites than in run alpha-"
Asked = tuple[Consortium, Run, Run]


def ended(consortium: Consortium, tree: dict[str, Any], name: str, *cohort: str) -> Run:
    """A run of this name over these sites, from beginning to end."""
    for site in consortium.sites.values():  # earlier plans are put away; the ledger remembers what was answered
        for earlier in PlanInbox(site).plans():
            shutil.rmtree(PlanInbox(site).room(earlier.digest))
    plan = consortium.plan(f"name={name}", f"plan.cohort=[{', '.join(cohort)}]", tree=tree)
    run = consortium.begun(plan, *cohort)
    with hospitals(consortium) as grid:
        ids = {site: node for site, node in nodes(consortium, grid).items() if site in cohort}
        driver.carry_out(run, FlowerTransport(grid, ids, plan.digest, on_progress=run.write_progress))
    return run


@pytest.fixture(scope="module")
def asked_twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The statistics of one recipe, asked of four hospitals and then of three of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
        patch.setattr(hospital_site, "PATIENCE_S", 120.0)
        tree = SVM | SYNTHETIC
        consortium = Consortium(tmp_path_factory.mktemp("twice"), FOUR, tree=tree)
        yield consortium, ended(consortium, tree, "alpha", *FOUR), ended(consortium, tree, "beta", *THREE)


def screen(show: Any, *arguments: Any) -> str:
    said = io.StringIO()
    show(*arguments, Console(file=said, width=10_000))
    return said.getvalue()


def test_a_refused_run_fails_at_once_and_says_who_refused_why_and_what_to_do(asked_twice: Asked) -> None:
    _, alpha, beta = asked_twice
    assert alpha.state.stage == "finished", alpha.state.why
    assert beta.state.stage == "failed"
    assert beta.state.why.startswith(TOLD)
    assert "draw the plan up anew, so that it carries what was answered then" in beta.state.why
    assert "ilent" not in beta.state.why
    assert beta.rounds() == []
    progress = beta.progress()
    assert progress is not None
    assert progress.refused == dict.fromkeys(THREE, "repeated-question")


def test_terminal_and_page_say_the_same(asked_twice: Asked) -> None:
    consortium, _, beta = asked_twice
    alive(consortium.home)
    assert TOLD in screen(run_display._over, beta)
    assert TOLD in screen(run_display.history, consortium.home)
    page = live_page.PageContent.at(consortium.home, beta.name)
    assert TOLD in page.html_parts["run"]
    assert "silent" not in page.html_parts["run"]


def test_the_coordinators_log_names_the_code_and_no_text_of_a_site(
    asked_twice: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    consortium, _, _ = asked_twice
    with caplog.at_level(logging.WARNING, "consilium"):
        ended(consortium, SVM | SYNTHETIC, "gamma", *THREE)
    said = [record.getMessage() for record in caplog.records if record.filename == "flower_transport.py"]
    assert set(said) == {f"site {site} refuses secagg/agree of round 0: repeated-question" for site in THREE}


def test_a_finished_run_names_who_refused_and_does_not_count_them_among_those_that_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    read = hospital_site.own_cases

    def unfit(home: Any, plan: Any) -> Any:
        if home.site == "Quito":
            raise hospital_site.PlanError("the images of patient 17")
        return read(home, plan)

    monkeypatch.setattr(hospital_site, "own_cases", unfit)
    tree = CNN | SYNTHETIC | {"federation": CNN["federation"] | {"strategy": "fedavg"}}
    run = ended(Consortium(tmp_path, FOUR, tree=tree), tree, "alpha", *FOUR)
    result = read_json(run.folder / "result.json")
    assert result["sites"] == list(THREE)
    assert result["asked"] == list(FOUR)
    assert {site: part["rounds"] for site, part in result["participation"].items() if part["rounds"]} == dict.fromkeys(
        THREE, result["best_round"] + 1
    )
    assert result["participation"]["Quito"] == {"rounds": 0, "refused": {"PLAN": 3}, "silent": 0}
    assert [record["refused"] for record in result["rounds"]] == [{"Quito": "PLAN"}] * 3
    assert [record["dropped"] for record in result["rounds"]] == [[]] * 3
    everything = b"".join(file.read_bytes() for file in run.folder.rglob("*") if file.is_file())
    assert b"patient 17" not in everything
    assert b"3 sites of pilot" in (run.folder / "model.safetensors").read_bytes()
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "3 sites of pilot trained" in report
    assert "Asked, and in no sum of the model: Quito (refused 3 times: PLAN)." in report
