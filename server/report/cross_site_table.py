"""Models × sites as a table whose cells have a number and a colour: section `cross_site` of result.json."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from common.web.markup import Child, count, el, figure, table
from server.report.sentences import Result, is_simulated

SHADES = 6
"""Colours from 0.5, what guessing gives, to 1."""


def section(result: Result) -> list[Element]:
    """The table with what is to be said of it; nothing where the run has no matrix."""
    if (cross_site := result.get("cross_site")) is None:
        return []
    return [
        el("h2", "Every model at every site"),
        el("p", _about(result)),
        models_by_sites(cross_site),
        el("p", KEY, class_="soft"),
    ]


NONE_OF_THEIR_OWN = " Here are the models alone that all sites share: none trained its own, or a row each is too many."
KEY = (
    "AUC on validation cases with 95 % intervals, and the number of cases. The stronger the colour, the nearer to 1; "
    "without one, no better than guessing."
)


def _about(result: Result) -> str:
    if is_simulated(result):
        has_own = any("/" in model for model in result["cross_site"]["models"])
        return (
            "Simulated: one machine played all sites, so it could run every model on every site's validation cases. In "
            "a real federation only sums leave the sites, and of a single site what it publishes. A site's own model "
            "chose its operating point, and its best round, on its own validation cases: there it flatters itself."
        ) + ("" if has_own else NONE_OF_THEIR_OWN)
    return (
        "A column a site that publishes its figures; “all sites” is of the counts summed under secure aggregation, "
        "those of sites that publish nothing among them."
    )


def models_by_sites(cross_site: Mapping[str, Any]) -> Element:
    """A row a model, a column a site, and all sites together last."""
    head = ["model", *cross_site["sites"], "all sites"]
    rows: list[list[Child]] = [
        [model, *(_cell(cross_site["cells"].get(model, {}).get(site)) for site in cross_site["sites"]),
         _cell(cross_site["all"].get(model))]
        for model in cross_site["models"]
    ]  # fmt: skip
    element = table("AUC of every model (rows) on the validation cases of every site (columns)", head, rows)
    element[0].set("class", "heat")
    return element


def _cell(cell: Mapping[str, Any] | None) -> Element:
    if cell is None:
        return el("span", "–", title="no sum: too few sites answered, or the site did not publish")
    text = figure(cell["auc"], cell.get("auc_interval"), cell.get("auc_sd"))
    cases = el("small", "n ", count(cell["n"]))
    return el("span", text, cases, class_=f"heat{shade(cell['auc'])}")


def shade(auc: float | None) -> int:
    """0 up to 0.5, then as many steps as there are shades."""
    if auc is None or auc <= 0.5:
        return 0
    return min(SHADES, 1 + int((auc - 0.5) * 2 * SHADES))
