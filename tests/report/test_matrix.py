"""Models × sites: the numbers are those of plain computation, and the table can be read without its colours."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.dataset import loading
from client.dataset.loading import PreparedData
from common import config
from common.imaging import Pipeline
from common.metrics import performance
from common.models import build
from common.storage import tensorfile
from common.types import under
from server.report import cross_site_table, evaluation_page
from server.report.run_page import page
from server.results import cross_site
from simulate import main as simulate
from simulation import compare

SMALL = ["data.sites=3", "data.cases=40", "data.size=16", "preprocess=[]", "federation.rounds=4"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "svm"
    assert simulate(["configs/demo-svm.yaml", "--out", str(out), *SMALL]) == 0
    return out


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


def data_of(folder: Path) -> PreparedData:
    return loading.load(config.load(folder / "config.yaml"), 1)


def test_every_model_meets_every_site(simulated: Path) -> None:
    found = told(simulated)["cross_site"]
    sites = [s.name for s in data_of(simulated).sites]
    assert found["sites"] == sites
    assert found["models"] == ["federated", *(f"local/{name}" for name in sites), "pooled"]
    assert all(list(row) == sites for row in found["cells"].values())


def test_a_row_is_what_the_saved_model_gives_on_the_sites_validation_cases(simulated: Path) -> None:
    run, data = told(simulated), data_of(simulated)
    arrays, about = tensorfile.load(simulated / "model.safetensors")
    told_config = config.load(simulated / "config.yaml")
    model = build(told_config.model_for(1), data.sites[0].train.images.shape[1:], len(data.labels))
    counted = {}
    for site in data.sites:
        images = Pipeline(told_config.preprocess).after(site.validation.images)
        counted[site.name] = performance.count(model.scores(under("weights", arrays), images), site.validation.labels)
    threshold = float(about["threshold"])
    row = {name: cross_site.cell(counts, threshold) for name, counts in counted.items()}
    assert json.loads(json.dumps(row)) == run["cross_site"]["cells"]["federated"]
    every = json.loads(json.dumps(cross_site.cell(cross_site.summed(counted), threshold)))
    assert every == run["cross_site"]["all"]["federated"]
    assert every["auc"] == run["counts"]["validation"]["figures"]["auc"]  # what the sites gave under masks


def test_it_can_be_left_out(tmp_path: Path) -> None:
    more = ["cross_site=false", "baselines=[]", "personalise.mix=false"]
    assert simulate(["configs/demo-svm.yaml", "--out", str(tmp_path / "o"), *SMALL, *more]) == 0
    assert "cross_site" not in told(tmp_path / "o")
    assert b"Every model at every site" not in (tmp_path / "o" / "report.html").read_bytes()


def test_of_many_sites_it_has_the_models_alone_that_all_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST_SITES", 2)
    assert simulate(["configs/demo-svm.yaml", "--out", str(tmp_path / "o"), *SMALL, "personalise.mix=false"]) == 0
    assert told(tmp_path / "o")["cross_site"]["models"] == ["federated", "pooled"]
    assert cross_site_table.NONE_OF_THEIR_OWN.strip() in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_the_page_has_a_number_for_every_cell_and_says_that_it_was_simulated(simulated: Path) -> None:
    text = (simulated / "report.html").read_text(encoding="utf-8")
    begin = text.index(">Every model at every site</h2>")
    part = text[begin : text.index("<h2", begin)]
    assert "Simulated: one machine played all sites" in part
    found = told(simulated)["cross_site"]
    assert len(re.findall(r"<td>", part)) == len(found["models"]) * (len(found["sites"]) + 1)
    for row in found["cells"].values():
        assert all(f"{cell['auc']:.3f}" in part for cell in row.values() if cell["auc"] is not None)
    assert 'scope="row"' in part
    assert 'role="region"' in part


def test_the_report_of_an_evaluation_has_the_figures_and_the_curve_of_every_model_with_a_sum(simulated: Path) -> None:
    run = told(simulated)
    one = run["counts"]["validation"]
    named = [{"name": name, "kind": "svm", "shape": [16, 16, 1], "preprocess": "ab", "sha256": "cd"} for name in "xyz"]
    sums = {"sites": [], "models": ["x", "y", "z"], "cells": {}, "all": {"x": run["cross_site"]["all"]["federated"]}}
    result = run | {"kind": "evaluation", "consortium": "pilot", "dataset": "chest", "models": named,
                    "cross_site": sums | {"all": sums["all"] | {"y": sums["all"]["x"]}},
                    "counts": {"x": one, "y": one | {"figures": one["figures"] | {"sensitivity": 0.125}}}}  # fmt: skip
    del result["config"], result["seeds"]
    text = evaluation_page.page(result).decode()
    part = text[text.index(">How good each is</h2>") : text.index(">Models</h2>")]
    assert part.count('scope="row"') == 2
    assert ">0.125<" in part
    assert part.count("<polyline") == 1 + 2  # chance, and both curves
    assert "too few sites answered, or they refused: z." in text


def test_over_several_seeds_a_cell_is_the_mean(simulated: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 1] * 20)
    grids = []
    for _ in range(2):
        counts = performance.count(random.normal(size=(40, 2)), labels)
        grids.append(({"federated": {"a": counts}}, {"federated": 0.0}))
    one, two = (cross_site.of_grids([grid])["cells"]["federated"]["a"] for grid in grids)
    both = cross_site.of_grids(grids)["cells"]["federated"]["a"]
    assert both["auc"] == pytest.approx((one["auc"] + two["auc"]) / 2)
    assert both["auc_sd"] > 0
    assert both["auc_interval"][0] < both["auc"] < both["auc_interval"][1]
    result = told(simulated) | {"cross_site": cross_site.of_grids(grids)}
    assert f"{both['auc']:.3f}".encode() in page(result)


@pytest.mark.parametrize(("auc", "shade"), [(None, 0), (0.3, 0), (0.5, 0), (0.51, 1), (0.75, 4), (0.999, 6), (1.0, 6)])
def test_the_nearer_to_one_the_darker(auc: float | None, shade: int) -> None:
    assert cross_site_table.shade(auc) == shade
