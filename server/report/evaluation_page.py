"""The report of an evaluation: its matrix, who took part, what the coordinator saw."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from common.web.markup import Child, bullet_list, contents, count, document, el, figure, style, table
from server.report import charts, cross_site_table, sentences
from server.report.charts import SHAPES
from server.report.provenance import cost, origin, took_part
from server.report.quality_section import NAMES, SHOWN, with_interval
from server.report.sentences import Result


def page(result: Result) -> bytes:
    """The whole report of an evaluation."""
    sections = (_limits, cross_site_table.section, _quality, _models, took_part, _privacy, cost, origin)
    body = [element for section in sections for element in section(result)]
    return document(f"{result['name']}: evaluation", style(), *_head(result), contents(body), *body)


def _head(result: Result) -> list[Element]:
    models, sites = len(result["models"]), len(result["sites"])
    return [
        el("p", "Evaluation in a federation of hospitals", class_="kind"),
        el("h1", result["name"]),
        *([el("p", when, class_="soft")] if (when := sentences.when(result)) else []),
        el("p", f"{models} model{'s' * (models > 1)} on the validation cases of {sites} sites of "
           f"{result['consortium']}, data set “{result['dataset']}”, to tell apart: {', '.join(result['labels'])}. "
           "Nothing was trained.",
           class_="lead"),
    ]  # fmt: skip


def _limits(result: Result) -> list[Element]:
    texts: list[Child] = [
        "These are research models, not medical devices: no decision about a patient may rest on them.",
        "Validation cases chose the best round and the operating point of a model that was trained at these sites: "
        "there the figures flatter it.",
    ]
    if empty := [m["name"] for m in result["models"] if m["name"] not in result["cross_site"]["all"]]:
        texts.append(f"Without a sum, for too few sites answered, or they refused: {', '.join(empty)}.")
    return [el("section", el("h2", "What to doubt"), bullet_list(texts), class_="warn")]


def _quality(result: Result) -> list[Element]:
    """What every model reaches on the sum of all sites' cases."""
    styles_and_names = [
        (i % len(SHAPES), m["name"]) for i, m in enumerate(result["models"]) if m["name"] in result["counts"]
    ]
    if not styles_and_names:
        return []
    counts = result["counts"]
    rows: list[list[Child]] = [
        [name, count(counts[name]["n"]), *(with_interval(counts[name]["figures"], f) for f in SHOWN)]
        for _, name in styles_and_names
    ]
    caption = "On the cases of all sites, at each model's operating point, with 95 % intervals"
    figures_table = table(caption, ["model", "cases", *(NAMES[f] for f in SHOWN)], rows)
    first_model = counts[styles_and_names[0][1]]
    charts_row = [
        _roc(
            result["labels"][one["class"]],
            [(style, name, counts[name]["classes"][i]) for style, name in styles_and_names],
        )
        for i, one in enumerate(first_model["classes"])
    ]
    return [el("h2", "How good each is"), figures_table, el("div", *charts_row, class_="charts")]


def _roc(label: str, classes: Sequence[tuple[int, str, Any]]) -> Element:
    drawable = [one for one in classes if one[2]["roc"]]
    if not drawable:
        return el("p", f"{label}: no ROC curve, for a class has no cases.")
    legend = charts.legend([(style, el("span", f"{name}, AUC ", figure(c["auc"], c["auc_interval"])))
                            for style, name, c in drawable])  # fmt: skip
    below = f"Shaded: 95 % interval of the sensitivity of {drawable[0][1]} at each threshold."
    return charts.captioned(f"ROC: {label}", charts.roc(f"ROC: {label}", drawable), legend, below)


def _models(result: Result) -> list[Element]:
    rows: list[list[Child]] = [
        [
            m["name"],
            sentences.MODELS[m["kind"]],
            "×".join(map(str, m["shape"])),
            el("code", m["preprocess"]),
            el("code", m["sha256"]),
        ]
        for m in result["models"]
    ]
    models_table = table("As the signed plan names them", ["model", "kind", "image", "preprocessing", "SHA-256"], rows)
    models_table[0].set("class", "words")
    return [el("h2", "Models"), models_table]


def _privacy(result: Result) -> list[Element]:
    secure = result["secure_aggregation"]
    publishing = result["cross_site"]["sites"]
    publication = f"{', '.join(publishing)} published" if publishing else "No site published"
    return [
        el("h2", "Privacy"),
        bullet_list([
            f"Every site's counts were masked: the coordinator saw sums over at least {secure['least_in_a_sum']} of "
            f"{secure['sites']} sites.",
            f"{publication} figures of {'their' if len(publishing) != 1 else 'its'} own. A site does so only where its "
            "policy says so, and only where at least three others that do not are left in the sum, or none.",
        ]),
    ]  # fmt: skip
