"""Several runs that differ in some settings, with one table, and a choice among them by validation cases alone.

Every combination is a run of its own, in a folder of its own; what they have in common (the prepared data, a member's
model whose settings are the same) is made once. `sweep.json` and `sweep.html` have all of them.

The choice is nested: of each repetition (seed, split, fold) the setting whose validation AUC is best, and the figures
on the test cases of that one. What is best on the test cases would flatter itself.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from rich.console import Console

from client.home import Home
from common import config as configuration
from common.cli.terminal import Sheet
from common.config import Config
from common.errors import ConfigError
from common.metrics import intervals, performance
from common.storage import tensorfile
from common.storage.files import read_json, write_json
from common.web.markup import Child, el, figure
from common.web.markup import table as page_table
from server.comparison import comparison_page
from server.report.quality_section import with_interval
from simulation import Engine
from simulation.seeds import simulate
from simulation.shared_parts import SharedParts

OUTSIDE_BRACKETS = re.compile(r",(?![^\[{]*[\]}])")


def combinations(sweep: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of `key=value,value…`, each as settings by key.

    Raises:
        ConfigError: something else, a key twice, or seeds, over which every run has its means.
    """
    values: dict[str, list[str]] = {}
    for text in sweep:
        key, equals, texts = text.partition("=")
        if not equals or not key or key in values or key == "seeds":
            raise ConfigError(
                f"--sweep {text}: expected key=value,value… such as federation.rounds=10,20, each key once, and no "
                "seeds: every run has its means over them."
            )
        values[key] = OUTSIDE_BRACKETS.split(texts)
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def run_sweep(
    path: Path,
    overrides: Sequence[str],
    sweep: Sequence[str],
    folder: Path,
    console: Console,
    engine: Engine,
    home: Home | None = None,
) -> dict[str, Any]:
    """Every combination, one after the other, and the table of all; what is there already is not run again."""
    each = combinations(sweep)
    configs = [_config(path, overrides, settings) for settings in each]  # a bad value ends it before anything is run
    parts, rows, results = SharedParts(), [], []
    for number, (settings, config) in enumerate(zip(each, configs, strict=True), 1):
        name = f"{number:02d}"
        text = " ".join(f"{key}={value}" for key, value in settings.items())
        console.print(f"Run {name} of {len(each)}: {text}", highlight=False)
        into = folder / name
        result = read_json(into / "result.json")
        if result is None or result["config"] != config.model_dump(mode="json"):
            into.mkdir(exist_ok=True)
            result = simulate(config, into, console, engine, home=home, parts=parts)
        row = {name: result[name] for name in ("sites_mean", "test", "differences")}
        row |= {"validation": _validation(result), "seeds": _tests(result)}
        rows.append({"run": name, "settings": settings} | row)
        results.append(result | {"name": text, "folder": name})
    whole = {"format": 1, "sweep": list(sweep), "runs": rows, "nested": nested(rows)}
    write_json(folder / "sweep.json", whole)
    if len(results) > 1:
        tensorfile.write_atomically(folder / "sweep.html", comparison_page.page(results, _choice_section(whole)))
    return whole


def _config(path: Path, overrides: Sequence[str], settings: Mapping[str, str]) -> Config:
    return configuration.load(path, [*overrides, *(f"{key}={value}" for key, value in settings.items())])


def _validation(result: Mapping[str, Any]) -> dict[str, float | None]:
    """By repetition the validation AUC of the model that was kept: the mean of the sites' own, where any has one."""
    rounds = {str(seed["seed"]): seed["best_round"] for seed in result["seeds"]}
    best = {str(r["seed"]): r["validation"] or {} for r in result["rounds"] if r["round"] == rounds[str(r["seed"])]}
    areas = {seed: (figures.get("auc_within"), figures.get("auc")) for seed, figures in best.items()}
    return {seed: together if within is None else within for seed, (within, together) in areas.items()}


def _tests(result: Mapping[str, Any]) -> dict[str, float | None]:
    """By repetition the mean of the sites' own AUCs on test cases."""
    areas = {str(seed["seed"]): [by["federated"]["auc"] for by in seed["sites"].values()] for seed in result["seeds"]}
    return {seed: performance.mean_and_deviation(each)["mean"] for seed, each in areas.items()}


def nested(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What choosing by validation gives: of each repetition the run, and the mean of their test AUCs."""
    choices: dict[str, Any] = {}
    for seed in rows[0]["validation"]:
        having = [row for row in rows if row["validation"].get(seed) is not None]
        if having:
            choices[seed] = max(having, key=lambda row, seed=seed: row["validation"][seed])  # type: ignore[misc]
    over = performance.mean_and_deviation([row["seeds"][seed] for seed, row in choices.items()])
    return {"chosen": {seed: row["run"] for seed, row in choices.items()}, "auc": over["mean"], "auc_sd": over["sd"]}


def table(whole: Mapping[str, Any]) -> Sheet:
    """A row a run: its settings, validation AUC, and on test cases the mean of the sites' own AUCs."""
    keys = list(whole["runs"][0]["settings"])
    columns = ("validation", "test AUC", "alone", "personalised", "federated − alone")
    sheet = Sheet("run", *keys, *columns, right=columns, title="Mean of the sites' own AUCs")
    for row in whole["runs"]:
        validation = performance.mean_and_deviation(list(row["validation"].values()))["mean"]
        means, gap = row["sites_mean"], (row["differences"].get("federated-local") or {}).get("mean")
        areas = [means.get(way, {}).get("auc") for way in ("local", "personalised")]
        sheet.add(
            row["run"], *row["settings"].values(), _number(validation),
            intervals.format_interval(means["federated"]["auc"], means["federated"].get("auc_interval")),
            *map(_number, areas),
            intervals.format_difference(gap["auc"], gap["interval"]) if gap else "–",
        )  # fmt: skip
    return sheet


def _choice_section(whole: Mapping[str, Any]) -> list[Element]:
    """What validation chose, and what it went by."""
    of_seeds: dict[str, list[str]] = {}
    for seed, run in whole["nested"]["chosen"].items():
        of_seeds.setdefault(run, []).append(seed)
    rows: list[list[Child]] = [
        [row["run"], *(el("code", value) for value in row["settings"].values()),
         figure(performance.mean_and_deviation(list(row["validation"].values()))["mean"]),
         with_interval(row["sites_mean"]["federated"], "auc"), ", ".join(of_seeds.get(row["run"], ()))]
        for row in whole["runs"]
    ]  # fmt: skip
    head = ["run", *whole["runs"][0]["settings"], "AUC on validation", "AUC on test", "chosen in repetition"]
    caption = "Mean of the sites' own AUCs, federated; what is chosen goes by the validation column alone"
    return [el("h2", "What validation chose"), el("p", choice(whole)), page_table(caption, head, rows)]


def choice(whole: Mapping[str, Any]) -> str:
    """What was chosen, in a sentence."""
    outcome = whole["nested"]
    runs = ", ".join(dict.fromkeys(outcome["chosen"].values()))
    if not runs:
        return "No run was judged on validation cases, so nothing was chosen."
    sd = f" ±{outcome['auc_sd']:.3f}" if len(outcome["chosen"]) > 1 else ""
    return (
        f"Chosen on validation cases, of each repetition by itself: run {runs}. That choice reaches "
        f"{_number(outcome['auc'])}{sd} on test cases, which took no part in it: report this, not the best of the "
        "table."
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
