"""The pictures of a run, drawn from the content of result.json alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.storage import tensorfile

COLOURS = {"local": "#9a9a9a", "federated": "#0b6e99", "personalised": "#2a9d4a", "pooled": "#d98324"}
COLOURS |= {"noiseless": "#7b4fa3", "left_out": "#b03a48"}
MARKERS = {"local": "o", "federated": "D", "personalised": "s", "pooled": "|", "noiseless": "^", "left_out": "x"}


def curves(result: Mapping[str, Any], path: Path) -> None:
    """Write a PNG: how the models learned, round by round, and what each site reaches alone, together, and pooled."""
    import io

    from matplotlib.figure import Figure

    rows = len(result["sites"])
    figure = Figure(figsize=(12, max(4.6, 2.4 + 0.34 * rows)), layout="constrained", dpi=110)
    figure.suptitle(f"{result['name']}: {result['origin']}", fontsize=11, wrap=True)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    _learning(left, result)
    _sites(right, result)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": ""})
    tensorfile.write_atomically(path, buffer.getvalue())


def _learning(axes: Any, result: Mapping[str, Any]) -> None:
    """Validation AUC after every round: the mean over seeds, its range shaded; each site alone as a thin line."""
    together = [[r for r in result["rounds"] if r["seed"] == s["seed"]] for s in result["seeds"]]
    first = result["seeds"][0]["curves"]
    for name, records in first.items():
        if name.startswith("local/") and records:
            x, y = _auc(records)
            axes.plot(x, y, color=COLOURS["local"], lw=0.8, alpha=0.7, label="each site alone" if len(x) else None)
    pooled_curves = [s["curves"]["pooled"] for s in result["seeds"] if s["curves"].get("pooled")]
    for name, runs in (("pooled", pooled_curves), ("federated", together)):
        _band(axes, [_auc(records) for records in runs], name)
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    axes.legend(by_label.values(), by_label.keys(), loc="lower right", frameon=False, fontsize=9)
    axes.set(xlabel="round", ylabel="validation AUC", title="Learning")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Any, runs: Sequence[tuple[Any, Any]], name: str) -> None:
    runs = [run for run in runs if len(run[0])]
    if not runs:
        return
    length = min(len(x) for x, _ in runs)
    x, y = runs[0][0][:length], np.array([v[:length] for _, v in runs])
    axes.plot(x, y.mean(axis=0), color=COLOURS[name], lw=2.2, label=name)
    if len(runs) > 1:
        axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=COLOURS[name], alpha=0.18, lw=0)


def _auc(records: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    areas = [
        (r["round"] + 1, r["validation"]["auc"]) for r in records if (r["validation"] or {}).get("auc") is not None
    ]
    return np.array([k for k, _ in areas]), np.array([a for _, a in areas], dtype=float)


def _sites(axes: Any, result: Mapping[str, Any]) -> None:
    """One row a site, one mark an approach."""
    names = [*result["sites"], "mean of sites"]
    rows = [*result["sites"].values(), result["sites_mean"]]
    for approach, colour in COLOURS.items():
        points = [(row[approach]["auc"], i) for i, row in enumerate(rows) if approach in row]
        points = [(auc, i) for auc, i in points if auc is not None]
        if points:
            x, y = zip(*points, strict=True)
            big = {"pooled": 16.0}.get(approach, 7.0)
            axes.plot(x, y, MARKERS[approach], color=colour, ms=big, mew=2.4 if approach == "pooled" else 0.5,
                      label=approach, ls="none", zorder=3)  # fmt: skip
    for i, row in enumerate(rows):
        areas = [row[a]["auc"] for a in COLOURS if a in row and row[a]["auc"] is not None]
        if areas:
            axes.plot([min(areas), max(areas)], [i, i], color="#d0d0d0", lw=2, zorder=1)
    sizes = [f"{site['cases']['train']} training cases" for site in result["sites"].values()]
    labels = [f"{n}\n{s}" for n, s in zip(names, [*sizes, ""], strict=True)]
    axes.set_yticks(range(len(names)), labels, fontsize=8.5)
    axes.invert_yaxis()
    axes.axhline(len(names) - 1.5, color="#808080", lw=0.6)
    axes.set(xlabel="test AUC" + (" (mean over seeds)" if len(result["seeds"]) > 1 else ""), title="Site by site")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize=9)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)


def worth(result: Mapping[str, Any], verdict: str, path: Path) -> None:
    """Write a PNG: what models reach on one hospital's test cases, with intervals (`told`: of `client.comparison`)."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    cases = f"{result['training_cases']} training, {sum(result['by_class'])} test cases"
    figure.suptitle(f"{result['model']} at {result['site']}: {cases}\n{verdict}", fontsize=10, wrap=True)
    axes, names = figure.subplots(1, 2, sharey=True), list(result["figures"])
    for panel, what in zip(axes, ("auc", "accuracy"), strict=True):
        for i, name in enumerate(names):
            value, interval = (result["figures"][name].get(key) for key in (what, f"{what}_interval"))
            if value is not None:
                panel.plot(interval or [value] * 2, [i, i], color=COLOURS[name], lw=2.5)
                panel.plot([value], [i], MARKERS[name], color=COLOURS[name], ms=8)
                panel.annotate(
                    f"{value:.3f}", (value, i), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9
                )
        panel.set(xlabel=f"{'AUC' if what == 'auc' else what} on test cases, 95 % interval")
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.grid(axis="x", alpha=0.25)
        panel.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), ["alone" if name == "local" else name for name in names])
    kind = "" if result["origin"] == "hospital" else f"{result['origin'].upper()} images. "
    figure.supxlabel(f"{kind}Research software, not a medical device.", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": ""})
    tensorfile.write_atomically(path, buffer.getvalue())
