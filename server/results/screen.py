"""A simulation's figures as tables on the screen: what each site reaches alone, together, and pooled."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from common.cli.terminal import Cell, Sheet
from common.metrics import plugin_metric
from server.results.result_json import APPROACHES, COMPARED


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print what each site reaches alone, together, and pooled: AUC and accuracy, with the test cases of each site."""
    approaches = [a for a in APPROACHES if a in result["test"]]
    several = len(result["seeds"]) > 1
    ways = [a.replace("_", " ") for a in approaches]
    titles = {"auc": "AUC on test cases", "accuracy": "Accuracy on test cases, operating point chosen on validation"}
    own_figures = [*titles]
    titles |= {name: f"{name} on test cases, as above" for name in plugin_metric.names(result["config"])}
    for figure, title in titles.items():
        table = Sheet("site", "test cases", *ways, right=("test cases", *ways), title=title)
        for name, site in result["sites"].items():
            texts = [_cell(site[a], figure, several) for a in approaches]
            marks = figure in own_figures  # of a plug-in's nobody here knows which way is better
            cells = _with_best_marked(texts, site, approaches, figure) if marks else texts
            table.add(name, str(site["federated"]["n"]), *cells)
        table.rule()
        for title, row in (("mean of sites", "sites_mean"), ("all test cases", "test")):
            cases = str(result["test"]["federated"]["n"])
            table.add(title, cases, *(_cell(result[row][a], figure, several) for a in approaches))
        console.print(table)
    if "findings" in result["test"]["federated"]:
        console.print(_findings(result, approaches, several))
    _show_blends(result, console)
    secure = result["secure_aggregation"]
    if secure["on"]:
        console.print(
            f"Secure aggregation: the coordinator saw sums over at least {secure['least_in_a_sum']} of "
            f"{secure['sites']} sites, and no site's own numbers."
            + (f" {secure['auditors']} of them recomputed every model." if secure["auditors"] else ""),
            highlight=False,
        )
    else:
        console.print(
            Text("Secure aggregation was OFF", "yellow"),
            "(federation.secure=false): the coordinator saw what each site sent, in the clear. For comparison in a "
            "simulation only.",
        )
    if (budget := result.get("privacy")) and budget["sweep"]:
        console.print(_sweep(budget))
    if many := len(result["warnings"]):
        console.print(Text(f"{many} warning{'s' * (many > 1)} of the data", "yellow"), "(above; first in report.html).")
    console.print(f"{result['origin']}. Research software, not a medical device.", style="dim", highlight=False)


def _sweep(budget: Mapping[str, Any]) -> Sheet:
    """A row an ε: what it leaves of the AUC."""
    table = Sheet("ε", "AUC", right=("ε", "AUC"), title="AUC on all test cases by budget of privacy")
    for row in budget["sweep"]:
        table.add(f"{row['epsilon']:g}", f"{_number(row['auc'])} ±{row['auc_sd'] or 0:.3f}")
    table.add("no noise", f"{_number(budget['auc_without_noise'])} ±{budget['auc_without_noise_sd'] or 0:.3f}")
    return table


def _show_blends(result: Mapping[str, Any], console: Console) -> None:
    """What each site's personalised model is made of, and why."""
    several = " (first seed)" if len(result["seeds"]) > 1 else ""
    reasons = {name: site["personalised_by"] for name, site in result["sites"].items() if "personalised_by" in site}
    if len(same := set(reasons.values())) == 1:
        console.print(f"Personalised{several}, every site: {same.pop()}.", highlight=False)
    elif reasons:
        console.print(f"Personalised{several}:", highlight=False)
        for name, reason in reasons.items():
            console.print(f"  {name}: {reason}.", highlight=False)


def _findings(result: Mapping[str, Any], approaches: Sequence[str], several: bool) -> Sheet:
    """A row a finding: AUC on all test cases that know it, and at how many sites somebody has looked for it."""
    columns = ("sites", "cases", *(a.replace("_", " ") for a in approaches))
    table = Sheet("finding", *columns, right=columns, title="AUC of every finding on all test cases that know it")
    for j, name in enumerate(result["labels"]):
        sites = sum(site["known"]["train"][j] > 0 for site in result["sites"].values())
        cells = [_cell(result["test"][a]["findings"][j], "auc", several) for a in approaches]
        table.add(name, str(sites), str(result["test"]["federated"]["findings"][j]["n"]), *cells)
    return table


def _cell(scores: Mapping[str, Any], figure: str, several: bool) -> str:
    text = _number(scores[figure])
    if not several or scores[figure] is None:
        return text
    return f"{text} ±{scores[f'{figure}_sd']:.3f}".replace("±0", "±")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_best_marked(cells: list[str], site: Mapping[str, Any], approaches: Sequence[str], figure: str) -> list[Cell]:
    """The best of what the site can have (pooling is not among it) in bold."""
    possible = [site[a][figure] for a in approaches if a not in COMPARED and site[a][figure] is not None]
    best = max(possible, default=None)
    return [
        Text(c, "bold green") if best is not None and a not in COMPARED and site[a][figure] == best else c
        for c, a in zip(cells, approaches, strict=True)
    ]
