"""The picture of what budgets of privacy cost, drawn from the content of result.json alone."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cli.curves_picture import COLOURS
from common.storage import tensorfile


def budgets(result: Mapping[str, Any], path: Path) -> None:
    """Write a PNG: test AUC over ε, with its deviation over the seeds, beside the same questions without noise."""
    from matplotlib.figure import Figure

    privacy = result["privacy"]
    rows = [row for row in privacy["sweep"] if row["auc"] is not None]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained", dpi=110)
    axes = figure.subplots()
    if rows:
        at, areas, deviations = ([row[name] or 0.0 for row in rows] for name in ("epsilon", "auc", "auc_sd"))
        axes.errorbar(at, areas, deviations, marker="D", capsize=4, color=COLOURS["federated"], label="with noise")
        axes.set_xscale("log")
        axes.set_xticks(at, [f"{epsilon:g}" for epsilon in at])
        axes.minorticks_off()
    if (exact := privacy["auc_without_noise"]) is not None:
        axes.axhline(exact, color=COLOURS["noiseless"], ls="--", label="the same questions without noise")
    axes.set(xlabel=f"ε at δ {privacy['delta']:g}, for every {privacy['of']}", ylabel="test AUC")
    axes.set_title(f"{result['name']}: {result['origin']}", fontsize=9, wrap=True)
    axes.legend(frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": ""})
    tensorfile.write_atomically(path, buffer.getvalue())
