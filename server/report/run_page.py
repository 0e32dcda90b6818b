"""The report of one run: its sections, each from the content of result.json alone."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from common.web.markup import Child, bullet_list, contents, count, document, el, figure, seconds, size, style, table
from server.report import charts, cross_site_table, plugin_tables, quality_section, rounds_table, sentences, verdicts
from server.report.charts import STYLES, spelled
from server.report.provenance import cost, origin, took_part
from server.report.quality_section import NAMES, SHOWN, with_interval
from server.report.sentences import Result

ORDER = ("local", "left_out", "federated", "noiseless", "personalised", "pooled")
COMPARED = ("left_out", "noiseless", "pooled")
"""What a site of the federation cannot have, and a simulation alone can compare with."""
MEANING = {
    "local": "each site alone",
    "left_out": "all other sites together: what a site gets that did not train",
    "federated": "all sites together",
    "noiseless": "the same under no budget of privacy: its questions without noise",
    "personalised": "a site's own blend of the two",
    "pooled": "all images in one place",
}


def page(result: Result) -> bytes:
    """The whole report of a run."""
    sections = (
        _limits,
        _data,
        _learning,
        quality_section.section,
        _sites,
        cross_site_table.section,
        took_part,
        _privacy,
        cost,
        origin,
    )
    body = [element for section in sections for element in section(result)]
    return document(f"{result['name']}: report", style(), *_head(result), contents(body), *body)


def approaches(result: Result) -> list[str]:
    """Which ways of training a simulation compares."""
    return [a for a in ORDER if a in result["test"]]


# --- the sections ---------------------------------------------------------------------------------------------------


def _head(result: Result) -> list[Element]:
    is_simulated = sentences.is_simulated(result)
    figures, cost = sentences.figures(result), result["cost"]
    many = "Rounds, all seeds" if len(result.get("seeds", ())) > 1 else "Rounds"
    tiles: list[tuple[str, Child]] = [(NAMES[f], with_interval(figures, f)) for f in SHOWN]
    tiles += [("Sites", count(len(sentences.trainers(result)))), (many, count(cost["rounds"])),
              ("Time in rounds", seconds(cost["seconds"])), ("Sent up", size(cost["bytes_up"]))]  # fmt: skip
    return [
        el("p", "Simulation on one machine" if is_simulated else "Federation of hospitals", class_="kind"),
        el("h1", result["name"]),
        *([el("p", when, class_="soft")] if (when := sentences.when(result)) else []),
        el("p", sentences.summary(result), class_="lead"),
        el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in tiles), class_="tiles"),
        *_first(result),
        el("p", *_judged_on(result), "In brackets: 95 % confidence intervals. " + _several(result), class_="soft"),
    ]


def _judged_on(result: Result) -> list[Child]:
    if (counts := sentences.judging_counts(result)) is None:
        return []
    part = "test cases" if sentences.is_simulated(result) else "validation cases of all sites together"
    return ["Figures of the federated model, ", count(counts["n"]), f" {part}: {verdicts.whose_figures(result)}. "]


def _first(result: Result) -> list[Element]:
    """What the differences say, and the figure over all cases together, called so."""
    paragraphs = [
        el("p", text, class_="warn" if verdicts.is_warning(text) else None) for text in verdicts.verdicts(result)
    ]
    if (both := verdicts.areas(result)) is None:
        return paragraphs
    text = "AUC over all cases together, which also compares cases of different sites: "
    paragraphs.append(el("p", text, with_interval(both[1], "auc"), ".", class_="soft"))
    return paragraphs + ([el("p", why, class_="warn")] if (why := verdicts.recognition(result)) else [])


def _several(result: Result) -> str:
    if not sentences.is_simulated(result) or len(result["seeds"]) < 2:
        return ""
    return (
        f"Figures are means over {len(result['seeds'])} seeds, ± their standard deviation; intervals are for the cases "
        f"of one seed. Curves, calibration and confusion are of the model of seed {result['counts']['seed']}."
    )


def _limits(result: Result) -> list[Element]:
    body = el("h2", "What this model is not good for"), bullet_list(sentences.limits(result))
    return [el("section", *body, class_="warn")]


def _data(result: Result) -> list[Element]:
    config, heading = result["config"], el("h2", "What was trained on what")
    strategy = "" if config["model"]["kind"] == "svm" else f" Strategy: {config['federation']['strategy']}."
    model = f"Model: {sentences.model_kind(result)}.{strategy} Labels: {', '.join(result['labels'])}."
    about = el("p", model)
    if not sentences.is_simulated(result):
        counts = sentences.judging_counts(result)
        sums = [el("p", "In the sum of the best round: ", *_classes(result, counts["by_class"]), ".")] if counts else []
        privacy_note = (
            "How many cases each single site has is not known to the coordinator: secure aggregation hides it."
        )
        return [heading, about, el("p", privacy_note), *sums]
    head = ["site", *(f"{part}: {label}" for part in ("training", "validation", "test") for label in result["labels"])]
    rows = [
        [name, *(cell for part in ("train", "validation", "test") for cell in _cases(site, part))]
        for name, site in result["sites"].items()
    ]
    caption = "Cases of every class at every site (first seed)"
    if sentences.has_findings(result):
        caption = "Cases with every finding, of those that know it, at every site (first seed); –: nobody looked for it"
    cases_table = table(caption, head, rows)
    return [heading, about, cases_table, *_remarks(result)]


def _cases(site: Mapping[str, Any], part: str) -> list[Child]:
    """Cases of every class, or with every finding of those that know it."""
    if "known" not in site:
        return [count(n) for n in site["by_class"][part]]
    pairs = zip(site["by_class"][part], site["known"][part], strict=True)
    return [f"{n:,} of {total:,}" if total else "–" for n, total in pairs]


def _classes(result: Result, by_class: Sequence[int]) -> list[Child]:
    parts: list[Child] = []
    for name, n in zip(result["labels"], by_class, strict=True):
        parts += [", " if parts else "", count(n), f" validation cases of {name}"]
    return parts


def _remarks(result: Result) -> list[Element]:
    lists = [("Cases left out", result["problems"]), ("Warnings", result["warnings"])]
    return [el("details", el("summary", f"{name}: {len(items)}"), bullet_list(items)) for name, items in lists if items]


def _learning(result: Result) -> list[Element]:
    runs, heading = curves_of(result), el("h2", "Learning")
    federated = runs[-1][2]
    void = [r["round"] for r in federated if r["void"]]
    charts_element = rounds_table.curves(runs, _legend(runs), void, sentences.best_round(result))
    if charts_element is None:
        return [heading, el("p", "There is no curve: no round has figures.")]
    elements = [heading, charts_element, el("p", sentences.choice_of_model(result), class_="soft")]
    return [*elements, rounds_table.numbers(federated, el("p", rounds_table.download(result["name"], runs)))]


def _legend(runs: Sequence[tuple[int, str, Sequence[Any]]]) -> list[tuple[int, Child]]:
    styles = {style: "each site alone" if style == STYLES["local"] else name for style, name, _ in runs}
    return [*sorted(styles.items())]


def curves_of(result: Result) -> list[tuple[int, str, Sequence[Any]]]:
    """The curves of the first seed, the federated one last."""
    if not sentences.is_simulated(result):
        return [(STYLES["federated"], "federated", result["rounds"])]
    first = result["seeds"][0]
    runs = [(STYLES[kind], f"{site} alone" if site else kind, records)
            for name, records in first["curves"].items() if records
            for kind, _, site in [name.partition("/")] if kind != "left_out"]  # fmt: skip
    together = [r for r in result["rounds"] if r["seed"] == first["seed"]]
    return [*runs, (STYLES["federated"], "federated", together)]


def _sites(result: Result) -> list[Element]:
    heading = el("h2", "Site by site")
    if not sentences.is_simulated(result):
        privacy_note = (
            "Only sums left the sites: what the model reaches at each of them is each site's own to find out. "
        )
        return [
            heading,
            el(
                "p",
                privacy_note,
                el("code", "python -m client compare MODEL"),
                " sets it there beside a model that the site "
                "trains alone, and a mix of both. What pooled images would give nobody can know.",
            ),
        ]
    names, rows = approaches(result), [*result["sites"].items(), (verdicts.MEAN, result["sites_mean"])]
    chart = charts.areas("AUC of every approach at every site", rows, names)
    legend = charts.legend([(STYLES[a], f"{spelled(a)}: {MEANING[a]}") for a in names])
    is_common = result["config"]["sites"]["test_on"] == "common"
    rows_shown: list[list[Child]] = [
        [
            name,
            count(site["cases"]["train"]),
            count((result if is_common else site)["cases"]["test"]),
            *_row(site, names),
            *_differences(result, name),
        ]
        for name, site in result["sites"].items()
    ]
    for title, key in ((verdicts.MEAN, "sites_mean"), (verdicts.TOGETHER, "test")):
        rows_shown.append(
            [
                title,
                count(result["cases"]["train"]),
                count(result["cases"]["test"]),
                *(with_interval(result[key][a], "auc") for a in names),
                *_differences(result, None if key == "sites_mean" else ""),
            ]
        )
    if sentences.has_findings(result):
        for j, name in enumerate(result["labels"]):
            areas = (with_interval(result["test"][a]["findings"][j], "auc") for a in names)
            row = [f"{verdicts.TOGETHER}: {name}", *_label_counts(result, j), *areas, *_differences(result, "")]
            rows_shown.append(row)
    caption = "AUC on test cases with 95 % intervals; bold: the best that the site can have"
    head, foot = (
        ["site", "training cases", "test cases", *map(spelled, names), *map(_against, result.get("differences", ()))],
        len(rows_shown) - len(result["sites"]),
    )
    return [heading, el("figure", chart, legend) if chart else el("p", "No site has test cases of both classes."),
            table(caption, head, rows_shown, foot=foot), *plugin_tables.section(result), *_blends(result)]  # fmt: skip


def _against(pair: str) -> str:
    """The head of a difference's column: federated − alone."""
    return spelled(pair).replace("local", "alone").replace("-", " − ")


def _differences(result: Result, site: str | None) -> list[Child]:
    """A site's differences with their intervals; of None the mean's; nothing for another row."""
    cells: list[Child] = []
    for difference in result.get("differences", {}).values():
        gap = difference["mean"] if site is None else difference["sites"].get(site)
        cells.append(figure(gap["auc"], gap["interval"], gap.get("sd")) if gap else "–" if site != "" else "")
    return cells


def _label_counts(result: Result, finding: int) -> list[Child]:
    """Training and test cases that know a finding, of all sites."""
    return [count(sum(s["known"][part][finding] for s in result["sites"].values())) for part in ("train", "test")]


def _blends(result: Result) -> list[Element]:
    """What each site's personalised model is made of, and why."""
    sites = result["sites"].items()
    items = [f"{name}: {site['personalised_by']}." for name, site in sites if "personalised_by" in site]
    about = "What the personalised models are made of, as each site's validation cases speak for it (first seed)"
    return [el("p", about, class_="soft"), bullet_list(items)] if items else []


def _row(site: Mapping[str, Any], names: Sequence[str]) -> list[Child]:
    """A site's AUC by approach; pooling is nothing that a site can have, so it is never the best."""
    best = max((site[a]["auc"] for a in names if a not in COMPARED and site[a]["auc"] is not None), default=None)
    marked = [a not in COMPARED and best is not None and site[a]["auc"] == best for a in names]
    return [el("span", with_interval(site[a], "auc"), class_="best" if m else None)
            for a, m in zip(names, marked, strict=True)]  # fmt: skip


def _privacy(result: Result) -> list[Element]:
    budget = result.get("privacy") or {}
    return [el("h2", "Privacy"), bullet_list(sentences.privacy(result)), *_sweep(budget)]


def _sweep(budget: Mapping[str, Any]) -> list[Element]:
    """AUC at several budgets, as a line and as numbers; nothing where none were tried."""
    rows = budget.get("sweep", ())
    if not rows:
        return []
    without = budget["auc_without_noise"]
    figures_shown = [*((f"{r['epsilon']:g}", r["auc"], r["auc_sd"]) for r in rows),
                     ("no noise", without, budget["auc_without_noise_sd"])]  # fmt: skip
    cells = [[name, "–" if auc is None else f"{auc:.3f} ± {sd or 0:.3f}"] for name, auc, sd in figures_shown]
    return [table("AUC on all test cases by budget of privacy, mean and deviation over seeds",
                  [f"ε, δ {budget['delta']:g}", "AUC"], cells)]  # fmt: skip
