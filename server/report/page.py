"""The report of one run: its sections, each from the content of result.json alone."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from server.report import charts, heat, learning, words
from server.report.charts import STYLES
from server.report.markup import Child, contents, count, document, el, figure, listed, seconds, size, table
from server.report.words import Result

ORDER = ("local", "federated", "personalised", "pooled")
MEANING = {
    "local": "each site alone",
    "federated": "all sites together",
    "personalised": "a site's own mix of the two",
    "pooled": "all images in one place",
}
SHOWN = ("auc", "accuracy", "sensitivity", "specificity")
NAMES = {"auc": "AUC", "accuracy": "Accuracy", "sensitivity": "Sensitivity", "specificity": "Specificity"}


@cache
def style() -> str:
    """The style sheet."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def page(result: Result) -> bytes:
    """The whole page."""
    sections = (_limits, _data, _learning, _quality, _sites, heat.section, took_part, _privacy, cost, origin)
    body = [element for section in sections for element in section(result)]
    return document(f"{result['name']}: report", style(), *_head(result), contents(body), *body)


def with_interval(told: Mapping[str, Any], name: str) -> Element:
    """A figure with its interval and its deviation over seeds, where there are such."""
    return figure(told.get(name), told.get(f"{name}_interval"), told.get(f"{name}_sd"))


def approaches(result: Result) -> list[str]:
    """What is compared in a simulation."""
    return [a for a in ORDER if a in result["test"]]


# --- the sections ---------------------------------------------------------------------------------------------------


def _head(result: Result) -> list[Element]:
    simulated, figures, cost = words.simulated(result), words.figures(result), result["cost"]
    many = "Rounds, all seeds" if len(result.get("seeds", ())) > 1 else "Rounds"
    tiles: list[tuple[str, Child]] = [(NAMES[f], with_interval(figures, f)) for f in SHOWN]
    tiles += [("Sites", count(len(result["sites"]))), (many, count(cost["rounds"])),
              ("Time in rounds", seconds(cost["seconds"])), ("Sent up", size(cost["bytes_up"]))]  # fmt: skip
    return [
        el("p", "Simulation on one machine" if simulated else "Federation of hospitals", class_="kind"),
        el("h1", result["name"]),
        *([el("p", when, class_="soft")] if (when := words.when(result)) else []),
        el("p", words.summary(result), class_="lead"),
        el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in tiles), class_="tiles"),
        el("p", *_judged_on(result), "In brackets: 95 % confidence intervals. " + _several(result), class_="soft"),
    ]


def _judged_on(result: Result) -> list[Child]:
    if (told := words.judged(result)) is None:
        return []
    part = "test cases" if words.simulated(result) else "validation cases of all sites together"
    return ["The figures of the model are on ", count(told["n"]), f" {part}. "]


def _several(result: Result) -> str:
    if not words.simulated(result) or len(result["seeds"]) < 2:
        return ""
    return (
        f"Figures are means over {len(result['seeds'])} seeds, ± their standard deviation; intervals are for the cases "
        f"of one seed. Curves, calibration and confusion are of the model of seed {result['counts']['seed']}."
    )


def _limits(result: Result) -> list[Element]:
    body = el("h2", "What this model is not good for"), listed(words.limits(result))
    return [el("section", *body, class_="warn")]


def _data(result: Result) -> list[Element]:
    config, heading = result["config"], el("h2", "What was trained on what")
    strategy = "" if config["model"]["kind"] == "svm" else f" Strategy: {config['federation']['strategy']}."
    model = f"Model: {words.MODELS[config['model']['kind']]}.{strategy} Labels: {', '.join(result['labels'])}."
    about = el("p", model)
    if not words.simulated(result):
        judged = words.judged(result)
        sums = [el("p", "In the sum of the best round: ", *_classes(result, judged["by_class"]), ".")] if judged else []
        hidden = "How many cases each single site has is not known to the coordinator: secure aggregation hides it."
        return [heading, about, el("p", hidden), *sums]
    head = ["site", *(f"{part}: {label}" for part in ("training", "validation", "test") for label in result["labels"])]
    rows = [
        [name, *(count(n) for part in ("train", "validation", "test") for n in site["by_class"][part])]
        for name, site in result["sites"].items()
    ]
    shown = table("Cases of every class at every site (first seed)", head, rows)
    return [heading, about, shown, *_remarks(result)]


def _classes(result: Result, by_class: Sequence[int]) -> list[Child]:
    parts: list[Child] = []
    for name, n in zip(result["labels"], by_class, strict=True):
        parts += [", " if parts else "", count(n), f" validation cases of {name}"]
    return parts


def _remarks(result: Result) -> list[Element]:
    told = [("Cases left out", result["problems"]), ("Warnings", result["warnings"])]
    return [el("details", el("summary", f"{name}: {len(items)}"), listed(items)) for name, items in told if items]


def _learning(result: Result) -> list[Element]:
    runs, heading = curves_of(result), el("h2", "Learning")
    federated = runs[-1][2]
    void = [r["round"] for r in federated if r["void"]]
    drawn = learning.drawn(runs, _legend(runs), void, words.best_round(result))
    if drawn is None:
        return [heading, el("p", "No round was evaluated, so there is no curve.")]
    found = [heading, drawn, el("p", words.kept(result), class_="soft")]
    return [*found, learning.numbers(federated, el("p", learning.download(result["name"], runs)))]


def _legend(runs: Sequence[tuple[int, str, Sequence[Any]]]) -> list[tuple[int, Child]]:
    styles = {style: "each site alone" if style == STYLES["local"] else name for style, name, _ in runs}
    return [*sorted(styles.items())]


def curves_of(result: Result) -> list[tuple[int, str, Sequence[Any]]]:
    """The curves of the first seed, the federated one last."""
    if not words.simulated(result):
        return [(STYLES["federated"], "federated", result["rounds"])]
    first = result["seeds"][0]
    runs = [(STYLES[kind], f"{site} alone" if site else kind, records)
            for name, records in first["curves"].items() if records
            for kind, _, site in [name.partition("/")]]  # fmt: skip
    together = [r for r in result["rounds"] if r["seed"] == first["seed"]]
    return [*runs, (STYLES["federated"], "federated", together)]


def _quality(result: Result) -> list[Element]:
    heading, told = el("h2", "How good it is"), words.judged(result)
    if told is None:
        return [heading, el("p", "Nothing was evaluated, so nothing can be said.")]
    simulated = words.simulated(result)
    on = "the test cases" if simulated else "the validation cases of all sites, summed"
    pooled = result["counts"]["test"].get("pooled") if simulated else None
    drawn: list[Child] = []
    for i, one in enumerate(told["classes"]):
        label = result["labels"][one["class"]]
        if not one["roc"]:
            drawn.append(el("p", f"{label}: no ROC curve, for a class has no cases."))
            continue
        drawn += [_roc(label, one, pooled["classes"][i] if pooled else None, told), _calibration(label, one)]
    note = el("p", f"On {on}. {words.operating_point(result)}")
    return [heading, note, el("div", *drawn, class_="charts"), *_confusion(result, told)]


def _roc(label: str, one: Any, pooled: Any, told: Any) -> Element:
    classes = [(STYLES["federated"], "federated", one)] + ([(STYLES["pooled"], "pooled", pooled)] if pooled else [])
    point = told["figures"] if len(told["by_class"]) == 2 else None
    legend = charts.legend([(style, el("span", f"{name}, AUC ", figure(c["auc"], c["auc_interval"])))
                            for style, name, c in classes])  # fmt: skip
    at_work = " The mark: the operating point." if point else ""
    below = f"Shaded: 95 % interval of the sensitivity at each threshold.{at_work}"
    title = f"ROC: {label}"
    return charts.captioned(title, charts.roc(title, classes, point), legend, below)


def _calibration(label: str, one: Any) -> Element:
    title = f"Calibration: {label}"
    below = (
        "On the diagonal, 70 % of the cases called 70 % likely are so. Bars: how many cases. Whiskers: 95 % intervals."
    )
    return charts.captioned(title, charts.calibration(title, one["calibration"]), below)


def _confusion(result: Result, told: Any) -> list[Element]:
    labels = result["labels"]
    rows: list[list[Child]] = [
        [f"is {name}", *(el("span", count(n), class_="right" if i == j else None) for j, n in enumerate(row))]
        for i, (name, row) in enumerate(zip(labels, told["confusion"], strict=True))
    ]
    shown = table(
        "Confusion counts: a row what it is, a column what the model says",
        ["truth", *(f"called {n}" for n in labels)],
        rows,
    )
    shown[0].set("class", "confusion")
    figures: list[list[Child]] = [[NAMES[f], with_interval(told["figures"], f)] for f in SHOWN]
    follow = table("The figures that follow, with 95 % intervals", ["figure", "value"], figures)
    return [el("h3", "Confusion"), el("div", shown, follow, class_="charts")]


def _sites(result: Result) -> list[Element]:
    heading = el("h2", "Site by site")
    if not words.simulated(result):
        hidden = "Only sums left the sites: what the model reaches at each of them is each site's own to find out. "
        return [
            heading,
            el(
                "p",
                hidden,
                el("code", "python -m client compare MODEL"),
                " sets it there beside a model that the site "
                "trains alone, and a mix of both. What pooled images would give nobody can know.",
            ),
        ]
    found, rows = approaches(result), [*result["sites"].items(), ("all test cases", result["test"])]
    chart = charts.areas("AUC of every approach at every site", rows, found)
    legend = charts.legend([(STYLES[a], f"{a}: {MEANING[a]}") for a in found])
    shown: list[list[Child]] = [
        [name, count(site["cases"]["train"]), *_row(site, found)] for name, site in result["sites"].items()
    ]
    for title, key in (("mean of sites", "sites_mean"), ("all test cases", "test")):
        shown.append([title, count(result["cases"]["train"]), *(with_interval(result[key][a], "auc") for a in found)])
    caption = "AUC on test cases with 95 % intervals; bold: the best that the site can have"
    return [heading, el("figure", chart, legend) if chart else el("p", "No site has test cases of both classes."),
            table(caption, ["site", "training cases", *found], shown, foot=2)]  # fmt: skip


def _row(site: Mapping[str, Any], found: Sequence[str]) -> list[Child]:
    """A site's AUC by approach; pooling is nothing that a site can have, so it is never the best."""
    best = max((site[a]["auc"] for a in found if a != "pooled" and site[a]["auc"] is not None), default=None)
    marked = [a != "pooled" and best is not None and site[a]["auc"] == best for a in found]
    return [el("span", with_interval(site[a], "auc"), class_="best" if m else None)
            for a, m in zip(found, marked, strict=True)]  # fmt: skip


def took_part(result: Result) -> list[Element]:
    """Which site answered in which round."""
    first = result["rounds"][0].get("seed") if result["rounds"] else None
    rounds = [r for r in result["rounds"] if r.get("seed") == first]
    what = "model, as in the tables above" if result.get("kind") == "evaluation" else "round"
    caption = f"Every {what}{' of the first seed' * (first is not None)}, from the left"
    away = sorted(set(result.get("asked", ())) - set(result["sites"]))
    return [
        el("h2", "Who took part"), *presence(caption, list(result["sites"]), rounds),
        *([el("p", f"Asked, and not taking part: {', '.join(away)}.")] if away else []),
    ]  # fmt: skip


def presence(caption: str, sites: Sequence[str], rounds: Sequence[Mapping[str, Any]]) -> list[Element]:
    """A row a site, a sign a round; and what the signs mean."""
    symbols = {"a": "■", "s": "□", "v": "×", "n": "·"}
    rows: list[list[Child]] = []
    for name in sites:
        told = [_presence(name, r) for r in rounds]
        strip = el("span", *(el("span", symbols[t], class_=t) for t in told), class_="strip", role="img",
                   aria_label=words.silences(name, rounds))  # fmt: skip
        rows.append([name, f"{told.count('a') + told.count('v')} of {len(told)}", strip])
    shown = table(caption, ["site", "answered", "round by round"], rows)
    shown[0].set("class", "strips")
    signs = ("■ answered", "□ silent", "× answered, but the round was void, for too few did", "· not asked")
    return [el("ul", *(el("li", sign) for sign in signs), class_="legend"), shown]


def _presence(name: str, record: Mapping[str, Any]) -> str:
    if name in record["dropped"]:
        return "s"
    if name not in record["sites"]:
        return "n"
    return "v" if record["void"] else "a"


def _privacy(result: Result) -> list[Element]:
    return [el("h2", "Privacy"), listed(words.privacy(result))]


def cost(result: Result) -> list[Element]:
    """Time and bytes."""
    spent = result["cost"]
    rows: list[list[Child]] = [
        ["Rounds", count(spent["rounds"])], ["Void rounds among them", count(spent["void"])],
        ["Time in rounds", seconds(spent["seconds"])], ["Sent up by all sites", size(spent["bytes_up"])],
        ["Sent down to all sites", size(spent["bytes_down"])],
    ]  # fmt: skip
    return [el("h2", "Time and bytes"), table("The federated rounds together", ["what", "how much"], rows)]


def origin(result: Result) -> list[Element]:
    """What made it."""
    keys = {"plan": "Plan, SHA-256", "release": "Release", "code": "Code at the sites, SHA-256",
            "preprocess": "Preprocessing, fingerprint", "weights_sha256": "Weights, SHA-256"}  # fmt: skip
    told = {name: str(result[key]) for key, name in keys.items() if key in result}
    told |= {f"Weights of seed {s['seed']}, SHA-256": s["weights_sha256"] for s in result.get("seeds", ())}
    told["Made with"] = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    rows: list[list[Child]] = [[name, el("code", value)] for name, value in told.items()]
    shown = table("What made these figures", ["what", "value"], rows)
    shown[0].set("class", "words")
    found = [el("h2", "Where it comes from"), shown]
    if "config" not in result:
        return found
    settings = json.dumps(result["config"], indent=1, ensure_ascii=False)
    return [*found, el("details", el("summary", "All settings"), el("pre", settings))]
