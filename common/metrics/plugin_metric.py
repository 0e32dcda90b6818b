"""Figures that plug-ins read off summed counts: nothing more leaves a site for them than for the AUC."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import PluginError
from common.plugins import Part, load_part, run_part
from common.types import Tensors


def figures(metrics: Sequence[Part], counts: Tensors) -> dict[str, float | None]:
    """Each metric of summed counts (`common.metrics.performance.count`), by `DISTRIBUTION:NAME`; None where undefined.

    Raises:
        PluginError: the function raised an error, or gave something else than a finite number or None.
    """
    return {str(part): _figure(part, counts) for part in metrics}


def names(config: Mapping[str, Any]) -> list[str]:
    """What a result.json calls the further figures of its configuration."""
    return [f"{part['plugin']}:{part['name']}" for part in config.get("metrics", ())]


def _figure(part: Part, counts: Tensors) -> float | None:
    value = run_part(part, load_part("metrics", part), {name: array.copy() for name, array in counts.items()})
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise PluginError("plugin-fails", f"{part} gave {value!r}, expected a finite number, or None where undefined.")
    return number
