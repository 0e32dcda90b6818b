"""Folds, splits apart from seeds, sweeps: each patient where it belongs, each part made once."""

import csv
import json
import re
from pathlib import Path

import pytest

from client.dataset import loading
from common import config as configuration
from common.errors import ConfigError
from simulate import main as simulate
from simulation import sweep
from simulation.shared_parts import repetitions

SMALL = ["data.sites=3", "data.cases=40", "data.size=16", "preprocess=[]", "federation.rounds=5", "cross_site=false"]
DEMO = Path("configs/demo-svm.yaml")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_in_folds_every_case_is_tested_once(tmp_path: Path) -> None:
    config = configuration.load(DEMO, [*SMALL, "sites.folds=4"])
    turns = repetitions(config)
    assert [turn.label for turn in turns] == [f"1-fold-{k}" for k in (1, 2, 3, 4)]
    data = [loading.load(config, turn.split, fold=turn.fold) for turn in turns]
    tests = [row.case for one in data for row in one.rows if row.part == "test"]
    assert sorted(tests) == sorted(row.case for row in data[0].rows)
    for one in data:
        assert {row.part for row in one.rows} == {"train", "validation", "test"}


def test_a_run_in_folds_has_a_training_for_each(tmp_path: Path) -> None:
    assert simulate([str(DEMO), "--out", str(tmp_path / "o"), *SMALL, "sites.folds=2", "baselines=[local]"]) == 0
    result = json.loads((tmp_path / "o" / "result.json").read_text(encoding="utf-8"))
    assert [seed["seed"] for seed in result["seeds"]] == ["1-fold-1", "1-fold-2"]
    assert {r["seed"] for r in result["rounds"]} == {"1-fold-1", "1-fold-2"}
    assert result["sites_mean"]["federated"]["auc_sd"] is not None


def test_the_split_has_a_seed_of_its_own() -> None:
    config = configuration.load(DEMO, [*SMALL, "seeds=[1,2]", "sites.seed=7"])
    assert [(turn.seed, turn.split, turn.label) for turn in repetitions(config)] == [(1, 7, 1), (2, 7, 2)]
    several = configuration.load(DEMO, [*SMALL, "sites.seed=[7,8]"])
    assert [turn.label for turn in repetitions(several)] == ["1-split-7", "1-split-8"]
    assert loading.load(several, 7).rows != loading.load(several, 8).rows


def test_a_sweep_runs_each_combination_and_makes_what_they_share_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[str] = []
    train = sweep.simulate.__globals__["compare"].__globals__["train_baselines"].__globals__
    before = train["train_alone"]
    monkeypatch.setitem(train, "train_alone", lambda e, name, cases: alone.append(name) or before(e, name, cases))
    out = tmp_path / "o"
    command = [str(DEMO), "--out", str(out), *SMALL, "--sweep", "federation.rounds=4,5", "model.C=0.01,0.1"]
    assert simulate(command) == 0
    whole = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert [row["settings"] for row in whole["runs"]] == [
        {"federation.rounds": r, "model.C": c} for r in ("4", "5") for c in ("0.01", "0.1")
    ]
    assert len(alone) == 2 * 4  # of each C three sites and the pooled images, whatever the rounds
    best = max(whole["runs"], key=lambda row: row["validation"]["1"])
    assert whole["nested"] == {"chosen": {"1": best["run"]}, "auc": best["seeds"]["1"], "auc_sd": 0.0}
    assert best["sites_mean"]["federated"]["auc"] == pytest.approx(best["seeds"]["1"])
    assert "Chosen on validation cases" in " ".join(capsys.readouterr().out.split())
    page = (out / "sweep.html").read_text(encoding="utf-8")
    assert "federation.rounds=5 model.C=0.1" in page
    (row,) = re.findall(f'<tr><th scope="row">{best["run"]}</th>.*?</tr>', page)
    assert f"{best['validation']['1']:.3f}" in row
    assert row.endswith("<td>1</td></tr>")
    assert page.count("Chosen on validation cases, of each repetition by itself: run " + best["run"]) == 1
    assert simulate([*command, "--resume"]) == 0
    assert len(alone) == 2 * 4  # nothing is run again


def test_values_of_a_sweep_may_be_lists() -> None:
    assert sweep.combinations(["a=[1,2],[3]", "b=x"]) == [{"a": "[1,2]", "b": "x"}, {"a": "[3]", "b": "x"}]
    for bad in (["a"], ["a=1", "a=2"], ["seeds=1,2"]):
        with pytest.raises(ConfigError, match="expected key=value,value"):
            sweep.combinations(bad)
