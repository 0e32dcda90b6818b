"""Several runs beside each other: settings that differ, curves over each other, figures with intervals, cost."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from common.cli.terminal import Sheet
from common.errors import RunError
from common.storage.files import read_json
from common.web.markup import Child, contents, count, document, el, seconds, size, style, table
from server.comparison import site_tables
from server.report import charts, rounds_table, sentences, verdicts
from server.report.charts import SHAPES
from server.report.quality_section import NAMES, SHOWN, with_interval
from server.report.sentences import Result


def read(folder: Path) -> Result:
    """What a run's folder says came out.

    Raises:
        RunError: without a result.json of this format that has counts.
    """
    path = folder / "result.json"
    content: Result | None = read_json(path)
    if content is None:
        raise RunError(f"{path}: not there; expected the folder of a run that has finished.")
    if isinstance(content, dict) and content.get("kind") == "evaluation":
        raise RunError(f"{path}: of an evaluation, which compares its models itself: see report.html beside it.")
    if (
        not isinstance(content, dict)
        or content.get("format") != 1
        or not {"counts", "config", "cost"} <= content.keys()
    ):
        raise RunError(f"{path}: of an older release, without counts to compare. Run it again with this one.")
    return content | {"folder": folder.name}


def run_names(results: Sequence[Result]) -> list[str]:
    """A name for each run; those that share one are called by their folders, or numbered."""
    names = [str(r["name"]) for r in results]
    folders = [str(r.get("folder", "")) for r in results]
    if len(set(names)) < len(names) and all(folders) and len(set(folders)) == len(folders):
        return [f"{n} ({f})" if names.count(n) > 1 and f != n else n for n, f in zip(names, folders, strict=True)]
    return [f"{n} ({i + 1})" if names.count(n) > 1 else n for i, n in enumerate(names)]


def page(results: Sequence[Result], first: Sequence[Element] = ()) -> bytes:
    """The page that compares runs.

    Args:
        first: a section that is to come before all others.
    """
    names = run_names(results)
    heading = el("h1", f"{len(results)} runs compared")
    about = el(
        "ul", *(el("li", el("b", name), ": ", sentences.summary(r)) for name, r in zip(names, results, strict=True))
    )
    warnings = [el("p", text, class_="warn") for text in doubts(results)]
    sections = (_figures, site_tables.section, _learning, _settings, _cost)
    body = [*first, *(element for section in sections for element in section(names, results))]
    end = el("p", "Research software, not a medical device.", class_="soft")
    return document("Runs compared", style(), heading, about, *warnings, contents(body), *body, end)


def doubts(results: Sequence[Result]) -> list[str]:
    """Why figures may not be comparable."""
    texts = []
    if len({sentences.is_simulated(r) for r in results}) > 1:
        texts.append("Some figures are on test cases of a simulation, others on validation cases of a federation.")
    if len({json.dumps((sentences.judging_counts(r) or {}).get("by_class")) for r in results}) > 1:
        texts.append("The runs were not judged on the same cases, for their numbers of cases differ.")
    return texts


def differing_settings(results: Sequence[Result]) -> dict[str, list[str]]:
    """Settings that are not the same in all: by their dotted name a value for each run, – where it has none.

    A section that a run does not have at all (`data` in a plan: it stays each site's matter) tells nothing.
    """
    flat = [_flat(r["config"]) for r in results]
    keys = dict.fromkeys(key for one in flat for key in one if key != "name")
    values = {key: [one.get(key, "–") for one in flat] for key in keys}

    def values_where_set(key: str) -> set[str]:
        section = key.partition(".")[0]
        return {v for v, r in zip(values[key], results, strict=True) if section in r["config"]}

    return {key: of_runs for key, of_runs in values.items() if len(values_where_set(key)) > 1}


def screen_table(results: Sequence[Result]) -> Sheet:
    """The same for a screen: a row a run."""
    figures_of = ("AUC", "95 % interval", "alone", "personalised", "accuracy", "rounds", "seconds", "MB up")
    screen = Sheet("run", *figures_of, right=figures_of)
    for name, result in zip(run_names(results), results, strict=True):
        figures, cost = sentences.figures(result), result["cost"]
        interval = "–".join(f"{v:.3f}" for v in figures.get("auc_interval") or ())
        means = result.get("sites_mean", {})
        others = [means.get(way, {}).get("auc") for way in ("local", "personalised")]
        auc, *others = ("–" if v is None else f"{v:.3f}" for v in (figures["auc"], *others, figures["accuracy"]))
        costs = str(cost["rounds"]), f"{cost['seconds']:.0f}", f"{cost['bytes_up'] / 1e6:.1f}"
        screen.add(name, auc, interval, *others, *costs)
    return screen


def _flat(value: Any, at: str = "") -> dict[str, str]:
    """Settings by dotted name; a list is one value, and one of steps has a line a step."""
    if isinstance(value, list) and value and all(isinstance(step, dict) and "step" in step for step in value):
        return {at: "\n".join(map(_step, value))}
    if not isinstance(value, dict):
        return {at: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
    return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{at}.{key}" if at else key).items()}


def _step(step: Mapping[str, Any]) -> str:
    """A step of the preprocessing with what is set of it: resize size=[32, 32]."""
    settings = (f" {key}={value}" for key, value in step.items() if key != "step" and value is not None)
    return f"{step['step']}{''.join(settings)}"


def _figures(names: Sequence[str], results: Sequence[Result]) -> list[Element]:
    rows: list[list[Child]] = [
        [name, verdicts.whose_figures(r),
         count((sentences.judging_counts(r) or {"n": 0})["n"]),
         *(with_interval(sentences.figures(r), f) for f in SHOWN)]
        for name, r in zip(names, results, strict=True)
    ]  # fmt: skip
    head = ["run", "figures", "cases", *(NAMES[f] for f in SHOWN)]
    beside = [(name, {"federated": sentences.figures(r)}) for name, r in zip(names, results, strict=True)]
    chart = charts.areas("AUC of every run with its 95 % interval", beside, ["federated"], "AUC")
    figures_table = table("The federated models' figures, with 95 % intervals", head, rows)
    return [el("h2", "Figures"), figures_table, *([el("figure", chart)] if chart is not None else [])]


def _learning(names: Sequence[str], results: Sequence[Result]) -> list[Element]:
    runs = [(i % len(SHAPES), name, _first_seed(r)) for i, (name, r) in enumerate(zip(names, results, strict=True))]
    curves = rounds_table.curves(runs, [(i, name) for i, name, _ in runs])
    if curves is None:
        return []
    return [el("h2", "Learning"), curves, el("p", rounds_table.download("runs", runs))]


def _first_seed(result: Result) -> list[Mapping[str, Any]]:
    rounds = result["rounds"]
    return [r for r in rounds if r.get("seed") == rounds[0].get("seed")]


def _settings(names: Sequence[str], results: Sequence[Result]) -> list[Element]:
    heading, differences = el("h2", "Settings that differ"), differing_settings(results)
    if not differences:
        return [heading, el("p", "None: the same configuration.")]
    rows: list[list[Child]] = [[key, *(el("code", v) for v in values)] for key, values in differences.items()]
    page_table = table("All others are the same", ["setting", *names], rows)
    page_table[0].set("class", "words")
    return [heading, page_table]


def _cost(names: Sequence[str], results: Sequence[Result]) -> list[Element]:
    rows: list[list[Child]] = [
        [name, count(len(sentences.trainers(r))), count(cost["rounds"]), count(cost["void"]), seconds(cost["seconds"]),
         size(cost["bytes_up"]), size(cost["bytes_down"])]
        for name, r in zip(names, results, strict=True) for cost in [r["cost"]]
    ]  # fmt: skip
    head = ["run", "sites", "rounds", "void", "time in rounds", "sent up", "sent down"]
    return [el("h2", "Cost"), table("The federated rounds together", head, rows)]
