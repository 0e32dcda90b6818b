"""Which figures of a run come first, and what its differences say, in words: for the screen, the report, the card.

First come the hospitals' own: their mean. What is over all test cases together comes second and is called so, since a
model that recognises a hospital by how many of its cases are positive does well there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from common.metrics import intervals
from server.report import sentences
from server.report.sentences import Result

WAYS = {"federated": "The federated model", "personalised": "The personalised models"}
AGAINST = {
    "local": "what each site has alone",
    "left_out": "what a site gets that did not train",
    "pooled": "the model of pooled images",
}
MEAN, TOGETHER = "mean of sites", "all test cases together"


def is_common(result: Result) -> bool:
    """Whether a simulation tested all sites on the same cases, so that there is nothing to take the mean of."""
    return sentences.is_simulated(result) and result["config"]["sites"]["test_on"] == "common"


def whose_figures(result: Result) -> str:
    """What the figures that come first are of, in words."""
    if not sentences.is_simulated(result):
        within = (sentences.judging_counts(result) or {}).get("within_sites")
        on = "on validation cases of all sites together"
        return f"AUC: the mean of the {within['sites']} sites' own; the others {on}" if within else f"figures {on}"
    return "on the common test cases" if is_common(result) else "the mean of the sites' own figures on their test cases"


def first(result: Result) -> str:
    """The figures to report, in a sentence."""
    figures, names = (
        sentences.figures(result),
        {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"},
    )
    parts = [f"{n} {intervals.format_interval(figures[f], figures.get(f'{f}_interval'))}" for f, n in names.items()]
    return f"Federated, {whose_figures(result)}: {', '.join(parts)}."


def areas(result: Result) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The federated model's AUC within sites, and over all cases together, each with `auc_interval`; None where only
    one of them is there."""
    if sentences.is_simulated(result):
        both = None if is_common(result) else (result["sites_mean"]["federated"], result["test"]["federated"])
    else:
        counts = sentences.judging_counts(result) or {}
        both = (counts["within_sites"], counts["figures"]) if "within_sites" in counts else None
    return both if both and None not in (both[0].get("auc"), both[1].get("auc")) else None


def recognition(result: Result) -> str:
    """Why the figure over all cases differs from the sites' own by more than chance; empty where it does not."""
    both = areas(result)
    if both is None or not (ends := both[0].get("auc_interval")):
        return ""
    within, together = both[0]["auc"], both[1]["auc"]
    if ends[0] <= together <= ends[1]:
        return ""
    sure = f"({ends[0]:.3f}–{ends[1]:.3f})"
    figures = f"Over all cases together the AUC is {together:.3f}, within the sites {within:.3f} {sure}"
    if together < within:
        return (
            f"{figures}: the scores of different sites are not on one scale, so one operating point does not serve all."
        )
    return (
        f"{figures}: {_prevalences(result)}a model that recognises the site ranks the cases of sites with many "
        "positives above all others, whoever the patient is. It is the figure within the sites that a patient meets; "
        "report that."
    )


def _prevalences(result: Result) -> str:
    if not sentences.is_simulated(result) or sentences.has_findings(result):
        return "sites differ in how many cases are positive, and "
    label = len(result["labels"]) - 1
    tests = [site["by_class"]["test"] for site in result["sites"].values()]
    shares = [100 * of[label] / sum(of) for of in tests if sum(of)]
    return f"{min(shares):.0f} to {max(shares):.0f} % of a site's test cases are {result['labels'][label]}, and "


def verdicts(result: Result) -> list[str]:
    """What each difference says, a sentence a pair; none of a run of an older release, or a real one.

    Where nothing was personalised these models are the federated one, of which it is said.
    """
    gaps_by_pair = result.get("differences", {})
    same = gaps_by_pair.get("personalised-local") == gaps_by_pair.get("federated-local")
    return [_verdict(pair, gaps) for pair, gaps in gaps_by_pair.items() if not (same and pair == "personalised-local")]


def is_warning(verdict: str) -> bool:
    """Whether a verdict is one against the model."""
    return "do not deploy" in verdict


def _verdict(pair: str, gaps: Mapping[str, Any]) -> str:
    way, _, against = pair.partition("-")
    name, other, mean = WAYS.get(way, way), AGAINST.get(against, against), gaps["mean"]
    if mean is None:
        return f"{name} and {other}: too few test cases to tell them apart."
    many, (low, high) = sum(gap is not None for gap in gaps["sites"].values()), mean["interval"]
    better, worse = gaps["better"], gaps["worse"]
    verb = "are" if way == "personalised" else "is"
    if high < 0:
        text = (
            f"worse than {other}{_at(worse, many)} on average by {-mean['auc']:.3f} ({-high:.3f} to {-low:.3f}) of AUC"
        )
    elif low > 0:
        text = (
            f"better than {other}{_at(better, many)} on average by {mean['auc']:.3f} ({low:.3f} to {high:.3f}) of AUC"
        )
    else:
        text = (
            f"not told apart from {other} by these test cases: on average "
            f"{intervals.format_difference(mean['auc'], (low, high))} of AUC"
        )
        text += f"; better at {', '.join(better)}" if better else ""
    return f"{name} {verb} {text}{_advice(against, high < 0, worse)}."


def _at(sites: Sequence[str], many: int) -> str:
    return f" at {len(sites)} of {many} sites," if sites else ","


def _advice(against: str, is_worse: bool, worse: Sequence[str]) -> str:
    if is_worse:
        return "; do not deploy" if against == "local" else ""
    where = f"; worse at {', '.join(worse)}" if worse else ""
    return where + (": do not deploy there" if worse and against == "local" else "")
