"""A run's standing on disk after every round, in one file, written atomically: whatever kills a run, it can go on.

The file holds the algorithm's state, the federated mean and variance, the best model with its validation counts, the
rounds so far, and in a simulation what the sites keep. A resumed run gives the same bits as one that was never
disturbed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import tensorfile
from common.algorithms.course import Place
from common.errors import RunError, WireError
from common.types import Tensors, prefixed, under
from server.federation import RoundRecord, Standing


def save(path: Path, standing: Standing, sites: Mapping[str, Tensors], digest: str) -> None:
    """Write a checkpoint. `digest` names the run that it belongs to; `sites` is what simulated sites keep."""
    tensors = prefixed("state", standing.state) | prefixed("best", standing.best)
    tensors |= prefixed("counts", standing.best_counts) | prefixed("recipe", standing.recipe)
    for name, state in sites.items():
        tensors |= prefixed(f"site/{name}", state)
    tensorfile.save(path, tensors, {"run": digest, "standing": json.dumps(standing.header())})


def load(path: Path, sites: tuple[str, ...], digest: str) -> tuple[Standing, dict[str, Tensors]] | None:
    """The standing and the sites' states; None where there is no checkpoint yet.

    Raises:
        RunError: if the file is damaged, or belongs to a run of another configuration.
    """
    try:
        tensors, header = tensorfile.load(path)
    except FileNotFoundError:
        return None
    except (WireError, OSError) as error:
        raise RunError(f"{error} Delete this checkpoint and start the run again.") from None
    if header.get("run") != digest:
        raise RunError(
            f"{path}: belongs to a run of another configuration or other data. "
            "Resume with the configuration it was started with, or give another --out."
        )
    about = json.loads(header["standing"])
    standing = Standing(
        place=Place("train", about["round"], under("state", tensors), under("recipe", tensors)),
        best=under("best", tensors),
        best_round=about["best_round"],
        best_counts=under("counts", tensors),
        records=tuple(_record(r) for r in about["records"]),
    )
    return standing, {name: under(f"site/{name}", tensors) for name in sites}


def _record(fields: dict[str, Any]) -> RoundRecord:
    return RoundRecord(**(fields | {"sites": tuple(fields["sites"]), "dropped": tuple(fields["dropped"])}))
