"""The page that a run ends in: whole, by itself, true to result.json, and readable without colours."""

import copy
import csv
import io
import json
import re
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rich.console import Console

from server.__main__ import main
from server.comparison import comparison_page
from server.report import chart_labels, charts, learning_curves, rounds_table, run_page, sentences
from server.runs import driver
from simulate import main as simulate
from tests.cli.piping import piped
from tests.consortium.consortium import Consortium
from tests.runs.test_runs import Hospitals

SMALL = ["data.sites=3", "data.cases=40", "data.size=16", "preprocess=[]", "federation.rounds=6"]
VOID = {"meta", "input"}


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append((self.open[-1], data))

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.texts)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "svm"
    assert simulate(["configs/demo-svm.yaml", "--out", str(out), *SMALL, "federation.simulate.drop=0.1"]) == 0
    return out


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    consortium = Consortium(tmp_path_factory.mktemp("life"))
    run = consortium.begun(consortium.plan())
    driver.carry_out(run, Hospitals(consortium, run.plan))
    assert run.state.stage == "finished"
    return run.folder


@pytest.fixture(params=["simulated", "real"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


def numbers(value: Any) -> set[float]:
    if isinstance(value, dict | list):
        return set().union(*map(numbers, value.values() if isinstance(value, dict) else value), {float(len(value))})
    return {float(value)} if isinstance(value, int | float) else set()


def test_a_run_ends_in_a_page_that_is_whole_and_by_itself(folder: Path) -> None:
    content = (folder / "report.html").read_bytes()
    page = Page(content)
    assert not re.search(rb"https?:|//|url\(|@import", content)
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not {"src", "style", "onclick"} & {name for _, told in page.tags for name in told}
    ways = {told["href"] or "" for _, told in page.tags if "href" in told}
    saved = {way for way in ways if way.startswith("data:text/csv;charset=utf-8,curve%2Cround%2Cauc")}
    assert len(saved) == 1
    assert ways - saved == {f"#{told['id']}" for tag, told in page.tags if tag == "h2"}
    for section in ("not good for", "trained on what", "Learning", "How good", "Site by site", "took part", "Privacy"):
        assert section in page.text


def test_every_number_on_the_page_is_in_the_result(folder: Path) -> None:
    page, known = Page((folder / "report.html").read_bytes()), numbers(told(folder))
    shown = [float(told["value"] or "") for tag, told in page.tags if tag == "data"]
    assert len(shown) > 20
    assert set(shown) <= known
    loose = [text for tag, text in page.texts if tag in ("td", "span", "dd") and re.fullmatch(r"[\d.]+", text.strip())]
    assert loose == []


def test_headings_are_in_order_and_every_picture_says_what_it_shows(folder: Path) -> None:
    content = (folder / "report.html").read_bytes()
    levels = [int(tag[1]) for tag, _ in Page(content).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    pictures = re.findall(r"<svg[^>]*>.{0,60}", content.decode())
    assert len(pictures) > 4
    assert all('aria-hidden="true"' in p or 'role="img"' in p for p in pictures)
    assert not re.search(r'role="img"(?![^>]*aria-label="[^"]{9})', content.decode())


def test_colour_is_never_the_only_thing_to_tell_by(simulated: Path) -> None:
    style = run_page.page.__globals__["style"]()
    dashes = re.findall(r"(?m)^\.s\d \{ stroke: var\(--c\d\);( stroke-dasharray: [\d ]+)?", style)
    assert len(dashes) == len(set(dashes)) == 6
    strip = re.findall(
        r'<span class="strip" role="img" aria-label="(?:silent|void|answered)[^"]*">', page_of(simulated)
    )
    assert len(strip) == 3


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_chart_says_its_values_where_the_pointer_is(simulated: Path) -> None:
    result, content = told(simulated), page_of(simulated)
    aucs = [r["validation"]["auc"] for r in result["rounds"] if r["validation"]]
    assert all(f">{auc:.3f} federated</text>" in content for auc in aucs)
    assert content.count(">kept</text>") == 2
    best = result["rounds"][sentences.best_round(result)]
    assert f">round {best['round'] + 1}</text>" in content


def test_names_of_one_kind_stay_apart_when_they_are_shortened_and_readings_stay_in_the_chart() -> None:
    names = [f"University hospital number {i}" for i in range(30)]
    assert len({chart_labels.short(name) for name in names}) == 30
    runs = [(3, f"{name} alone", [{"round": r, "validation": {"auc": 0.5 + r / 1000 + i / 100}} for r in range(400)])
            for i, name in enumerate(names)]  # fmt: skip
    drawn = learning_curves.chart("AUC", runs, "auc", "AUC")
    assert drawn is not None
    boxes = [box for box in drawn.iter("rect") if box.get("rx")]
    assert 40 < len(boxes) <= chart_labels.MOST_STOPS
    for box in boxes:
        x, y, wide, high = (float(box.get(name) or "nan") for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + wide <= charts.WIDTH
        assert 0 <= y <= y + high <= charts.HEIGHT


def test_saved_curves_are_those_of_the_result_and_no_name_is_a_formula(simulated: Path) -> None:
    records = told(simulated)["rounds"]
    link = rounds_table.download("=run", [(0, "=cmd()", records)])
    rows = [*csv.DictReader(io.StringIO(unquote((link.get("href") or "").partition(",")[2])))]
    assert [row["round"] for row in rows] == [str(r["round"] + 1) for r in records]
    assert [row["auc"] for row in rows] == [str((r["validation"] or {}).get("auc") or "") for r in records]
    assert {row["curve"] for row in rows} == {"'=cmd()"}


def test_what_is_not_known_of_a_real_run_is_said(real: Path) -> None:
    text, result = Page((real / "report.html").read_bytes()).text, told(real)
    day = time.strftime("%Y-%m-%d", time.gmtime(result["rounds"][0]["at_s"]))
    for told_ in (day, result["plan"], result["code"], result["release"],
                  "How many cases each single site has is not known", "not a medical device",
                  "coordinator saw sums over at least", "flatter the model"):  # fmt: skip
        assert told_ in text
    assert "pooled" not in text.replace("pooled images", "")
    assert sum(map(sum, result["counts"]["validation"]["confusion"])) == result["validation"]["n"]


def test_synthetic_hospitals_are_called_synthetic(simulated: Path) -> None:
    text = Page((simulated / "report.html").read_bytes()).text
    assert "Simulation on one machine" in text
    assert "say nothing of how it does on patients" in text
    assert "Small numbers" in text


def test_counts_and_figures_of_a_result_agree(simulated: Path) -> None:
    result = told(simulated)
    for approach, counts in result["counts"]["test"].items():
        for name in ("auc", "accuracy", "sensitivity", "specificity"):
            assert counts["figures"][name] == pytest.approx(result["test"][approach][name])
        ((clear, false), (missed, hit)) = counts["confusion"]
        assert hit / (hit + missed) == pytest.approx(result["test"][approach]["sensitivity"])
        assert clear / (clear + false) == pytest.approx(result["test"][approach]["specificity"])
    for site in result["sites"].values():
        assert {part: sum(n) for part, n in site["by_class"].items()} == site["cases"]


def test_names_are_text_and_never_markup(simulated: Path) -> None:
    result, evil = told(simulated), "<script>alert(1)</script>\"'&"
    result["name"] = result["origin"] = evil
    result["labels"] = [evil, "b"]
    result["sites"] = {evil + name: site for name, site in result["sites"].items()}
    result["seeds"][0]["curves"] = {f"local/{evil}": result["rounds"]}
    for content in (run_page.page(result), comparison_page.page([result, result])):
        page = Page(content)
        assert "script" not in {tag for tag, _ in page.tags}
        assert evil in page.text


def without_auc(result: dict[str, Any]) -> None:
    for record in result["rounds"]:
        record["validation"] = record["validation"] and record["validation"] | {"auc": None}


def one_class(result: dict[str, Any]) -> None:
    for counts in result["counts"]["test"].values():
        counts["by_class"] = [counts["n"], 0]
        counts["classes"][0] |= {"roc": [], "auc": None, "auc_interval": None, "calibration": []}
        counts["figures"] |= {"auc": None, "sensitivity": None}
        del counts["figures"]["auc_interval"], counts["figures"]["sensitivity_interval"]
    for row in [*result["sites"].values(), result["test"], result["sites_mean"]]:
        for approach in result["test"]:
            row[approach] = {"auc": None, "accuracy": 1.0, "sensitivity": None, "specificity": 1.0}


def void_alone(result: dict[str, Any]) -> None:
    for record in result["rounds"]:
        record |= {"void": True, "validation": {}, "dropped": record["sites"], "sites": []}


@pytest.mark.parametrize("change", [without_auc, one_class, void_alone])
def test_what_is_missing_is_said_and_breaks_nothing(change: Any, simulated: Path) -> None:
    result = copy.deepcopy(told(simulated))
    change(result)
    Page(run_page.page(result))
    Page(comparison_page.page([result, told(simulated)]))
    Console(quiet=True).print(comparison_page.screen_table([result, result]))


def test_three_classes_have_a_curve_each(tmp_path: Path) -> None:
    more = ["data.classes=3", "baselines=[]", "personalise.mix=false"]
    assert simulate(["configs/demo-svm.yaml", "--out", str(tmp_path / "o"), *SMALL, *more]) == 0
    three = told(tmp_path / "o")["counts"]["test"]["federated"]
    assert [c["class"] for c in three["classes"]] == [0, 1, 2]
    assert three["figures"]["accuracy"] == pytest.approx(sum(three["confusion"][c][c] for c in range(3)) / three["n"])
    low, high = three["figures"]["auc_interval"]
    assert low < three["figures"]["auc"] < high
    assert page_of(tmp_path / "o").count("<h3>ROC: ") == 3


def test_runs_are_compared_on_a_page_and_on_the_screen(
    simulated: Path, real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.html"
    home = real.parents[1]
    assert main(["compare", str(simulated), real.name, "--home", str(home), "--out", str(out)]) == 0
    screen, page = capsys.readouterr().out, Page(out.read_bytes())
    for text in (screen, page.text):
        assert real.name in text
        assert "validation cases of a federation" in text
    assert "data.cases" not in page.text
    assert {float(told["value"] or "") for tag, told in page.tags if tag == "data"} <= numbers(
        [told(simulated), told(real)]
    )


@pytest.mark.parametrize("columns", ["20", "40", "80", "200"])
def test_compared_runs_have_a_whole_line_each_in_a_pipe(simulated: Path, tmp_path: Path, columns: str) -> None:
    long = told(simulated) | {"name": "pneumonia-of-children-and-of-[adults]-at-all-of-the-hospitals-that-took-part"}
    (tmp_path / "result.json").write_text(json.dumps(long), encoding="utf-8")
    lines = piped("server", "compare", simulated, tmp_path, "--out", tmp_path / "c.html", columns=columns).splitlines()
    (line,) = [line for line in lines if long["name"] in line]
    figures = long["sites_mean"]["federated"]
    assert line.split()[1:3] == [f"{figures['auc']:.3f}", "–".join(f"{v:.3f}" for v in figures["auc_interval"])]


def test_only_settings_that_differ_are_laid_beside_each_other(simulated: Path) -> None:
    one, other, plan = (copy.deepcopy(told(simulated)) for _ in range(3))
    other["config"]["federation"]["strategy"] = "fedadam"
    del plan["config"]["data"]
    assert comparison_page.differing_settings([one, other, plan]) == {
        "federation.strategy": ["fedavg", "fedadam", "fedavg"]
    }
    assert comparison_page.differing_settings([one, one]) == {}
    assert "same configuration" in Page(comparison_page.page([one, one])).text


def test_what_cannot_be_compared_is_refused_with_a_hint(
    simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "result.json").write_text('{"format": 1}', encoding="utf-8")
    cases = {("compare", str(simulated)): "two at least", ("compare", str(simulated), str(old)): "older release",
             ("compare", "nowhere", "none", "--home", str(tmp_path / "x")): "no folder with a result.json"}  # fmt: skip
    for arguments, hint in cases.items():
        assert main(arguments) == 2
        assert hint in capsys.readouterr().err


def test_a_site_that_was_hardly_there_and_one_that_does_better_alone_are_named(simulated: Path) -> None:
    result = told(simulated)
    name = next(iter(result["sites"]))
    for record in result["rounds"]:
        record["void"], record["dropped"] = False, [name]
    result["sites"][name]["local"]["auc"], result["sites"][name]["federated"]["auc"] = 0.9, 0.8
    said = " ".join(sentences.limits(result))
    assert f"hardly in the model: {name}" in said
    assert f"higher AUC at {name}" in said


def test_who_refused_and_what_was_lost_is_said_and_an_older_result_reads(simulated: Path) -> None:
    result = copy.deepcopy(told(simulated))
    del result["participation"], result["likeness"], result["statistics"], result["ended"]
    for record in result["rounds"]:
        del record["refused"], record["unjudged"]
    older = run_page.page(result).decode()
    assert "in no sum of the model" not in older
    assert len(sentences.trainers(result)) == len(result["sites"])
    name = next(iter(result["sites"]))
    for record in result["rounds"]:
        record |= {"refused": {name: "clock"}, "sites": [site for site in record["sites"] if site != name]}
        record["dropped"] = [site for site in record["dropped"] if site != name]
    result |= {"likeness": "lost", "statistics": result["rounds"][0]}
    text = run_page.page(result).decode()
    many = len(result["rounds"])
    assert f"Asked, and in no sum of the model: {name} (refused {many} times: clock)." in text
    assert f"1 of 3 refused: clock (a request was signed minutes ago, or in the future), {name}" in text
    assert "gives no warning of images of another kind" in text
    assert "refused in rounds 1 (clock), 2 (clock)" in text
    assert "2 sites trained" in text
    assert comparison_page.page([result, told(simulated)]).decode().count(">2<") >= 1
