"""What a simulation writes is enough to compute its figures again."""

import csv
import json
from pathlib import Path

import pytest

from benchmarks import figures
from simulate import main as simulate
from tests.house.documents import ROOT

SMALL = ["data.sites=3", "data.cases=40", "data.size=16", "preprocess=[]", "federation.rounds=6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files") / "run"
    more = ["seeds=[1,2]", "baselines=[local,pooled,left_out]"]
    assert simulate(["configs/demo-svm.yaml", "--out", str(out), *SMALL, *more]) == 0
    return out


def test_every_figure_is_what_its_files_give(run: Path) -> None:
    found = figures.differences(run)
    assert found.keys() == set(figures.FIGURES)
    assert max(found.values()) < 1e-9


def test_the_lines_of_the_page_print_the_figures_twice(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0].replace("runs/demo", str(run))
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result["sites"] = {
        name: {way: (result["seeds"][0]["sites"][name][way]) for way in result["test"]} for name in result["sites"]
    }  # the page's run has one seed
    exec(compile(code.replace("result = ", "told = "), "results.md", "exec"), {"result": result})  # noqa: S102
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 12
    for *_, again, told in lines:
        assert float(again) == pytest.approx(float(told), abs=1e-12)


def test_the_split_says_where_every_case_is(run: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    with (run / "seed-1" / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, site in result["sites"].items():
        for part, n in site["cases"].items():
            assert sum(row["site"] == name and row["part"] == part for row in rows) == n


def test_every_model_is_on_disk(run: Path) -> None:
    names = {path.stem for path in (run / "seed-2").glob("*.safetensors")}
    sites = ("Lisbon", "Nairobi", "Osaka")
    each = {f"{way}-{site}" for way in ("local", "left_out", "personalised") for site in sites}
    assert names == {"federated", "pooled"} | each
