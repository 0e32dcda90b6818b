"""Evaluations in a real federation: counts add up to what plain computation gives, and no site's own leave unbidden."""

import json
from argparse import Namespace
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from client import flower as site_edge
from common import metrics
from common.plans import RunPlan
from common.transport import Answer, Reply, Request
from common.types import Tensors
from server import conduct, evaluating, evaluation, examined
from server.matrix import summed
from server.runs import Run
from tests.deployment.consortium import NAMES, SVM, Consortium
from tests.deployment.test_runs import Hospitals

FIVE = ("Lisbon", "Nairobi", "Osaka", "Quito", "Riga")


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all of them share a process; in life each has one, which keeps one plan's images."""
    monkeypatch.setattr(site_edge, "_prepared", lru_cache(maxsize=None)(site_edge._prepared.__wrapped__))
    monkeypatch.setattr(conduct, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(evaluation, "AGAIN_S", 0.01)


class Asked(Hospitals):
    """Hospitals, with everything that was asked of each."""

    def __init__(self, consortium: Consortium, plan: RunPlan) -> None:
        super().__init__(consortium, plan)
        self.heard: list[tuple[str, str]] = []

    def answer(self, name: str) -> Answer:
        inner = super().answer(name)

        def answer(request: Request, state: Tensors) -> Any:
            self.heard.append((name, request.kind))
            try:
                return inner(request, state)
            except Exception as error:  # as Flower's edge: to the coordinator it is silence
                self.errors = [*getattr(self, "errors", []), f"{name}: {error}"]
                return Reply({}), state

        return answer


def trained(consortium: Consortium, *overrides: str, tree: dict[str, Any] = SVM) -> Run:
    run = consortium.begun(consortium.plan(*overrides, tree=tree))
    conduct.conduct(run, Hospitals(consortium, run.plan))
    assert run.state.stage == "finished", run.state.why
    return run


def evaluated(
    consortium: Consortium, *models: str, cohort: str = "", between: Callable[[Asked], None] = lambda _: None
) -> tuple[Run, Asked]:
    plan = drawn_up(consortium, *models, cohort=cohort)
    run = consortium.begun(plan, *plan.content.cohort)
    way = Asked(consortium, plan)
    way._answers = {name: way._answers[name] for name in run.state.cohort}
    between(way)
    conduct.conduct(run, way, evaluation.examine)
    return run, way


def drawn_up(consortium: Consortium, *models: str, cohort: str = "") -> RunPlan:
    consortium.roster()
    told = {"name": "look", "dataset": None, "cohort": cohort, "purpose": None, "days": 30.0, "root": None}
    plan = evaluating.drawn_up(consortium.home, Namespace(models=models, **told))
    for site in consortium.sites.values():
        site.take_plan(plan.paper.encode())
    return plan


def publish(consortium: Consortium, *names: str) -> None:
    for name in names:
        path = consortium.sites[name].folder / "site.yaml"
        told = yaml.safe_load(path.read_text())
        told["policy"] = (told.get("policy") or {}) | {"publish": ["figures"]}
        path.write_text(yaml.safe_dump(told))


def plain(consortium: Consortium, run: Run, site: str, model: Any) -> Tensors:
    """What a site would count, computed without any of the protocol."""
    home = consortium.sites[site]
    member = site_edge.prepared(home, home.approved(run.plan.digest)).site.by_model[model.sha256]
    arrays = examined.arrays(consortium.home, model)
    recipe = {n.removeprefix("recipe/"): a for n, a in arrays.items() if n.startswith("recipe/")}
    weights = {n.removeprefix("weights/"): a for n, a in arrays.items() if n.startswith("weights/")}
    cases = member.ready("validation", recipe)
    return metrics.count(member.model.scores(weights, cases.images), cases.labels)


def result_of(run: Run) -> dict[str, Any]:
    assert run.state.stage == "finished", run.state.why
    return dict(json.loads((run.folder / "result.json").read_text()))


def done(run: Run) -> evaluation.Done:
    return evaluation.Done.load(run.folder / "evaluation.checkpoint", run.plan.digest)


def test_a_row_is_the_sum_of_what_plain_computation_counts_at_every_site(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path / "life")
    one, two = trained(consortium), trained(consortium, "name=other", "model.C=1.0")
    run, way = evaluated(consortium, one.name, two.name)
    result = result_of(run)
    for model in run.plan.content.models:
        expected = summed({site: plain(consortium, run, site, model) for site in NAMES})
        found = done(run).sums[model.sha256]
        for name in ("n", "correct", "confusion", "histogram"):
            assert np.array_equal(found[name], expected[name]), name
        assert result["cross_site"]["all"][model.name]["n"] == expected["n"][0]
    assert result["cross_site"]["models"] == [one.name, two.name]
    assert (result["cross_site"]["sites"], result["cross_site"]["cells"]) == ([], {one.name: {}, two.name: {}})
    assert not [kind for _, kind in way.heard if not kind.startswith("secagg/")]
    assert b"Nothing was trained" in (run.folder / "report.html").read_bytes()
    training = json.loads((one.folder / "result.json").read_text())
    assert result["cross_site"]["all"][one.name]["n"] == training["validation"]["n"]
