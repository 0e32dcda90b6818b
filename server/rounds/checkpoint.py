"""Where a run stands, on disk after every round: whatever kills a run, it can go on.

Each file is written atomically, and there are two of them with the same content and its digest: what spoils one, a
truncation or a flipped bit, costs nothing.

It holds the algorithm's state, the federated mean and variance, the best model with its validation counts, the
rounds so far, and in a simulation what the sites keep. A resumed run gives the same bits as one that was never
disturbed.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.algorithms.course import Place
from common.errors import RunError, WireError
from common.storage import tensorfile
from common.types import Tensors, prefixed, under
from server.rounds.loop import LoopState
from server.rounds.round_record import RoundRecord

log = logging.getLogger("consilium")

PARTS = ("state", "recipe", "likeness", "judged")
"""The arrays of a `Place`, by name."""


def save(path: Path, state: LoopState, sites: Mapping[str, Tensors], digest: str) -> None:
    """Write a checkpoint, twice. `digest` names the run that it belongs to; `sites` is what simulated sites keep."""
    tensors = prefixed("state", state.state) | prefixed("best", state.best)
    tensors |= prefixed("counts", state.best_counts) | prefixed("recipe", state.normalisation)
    tensors |= prefixed("likeness", state.place.appearance) | prefixed("judged", state.place.selection)
    for name, site_state in sites.items():
        tensors |= prefixed(f"site/{name}", site_state)
    header = {"run": digest, "standing": json.dumps(state.header())}
    content = tensorfile.pack(tensors, header | {"sha256": _sha256(tensors, header)})
    for copy in _copies(path):  # the disk is waited for once: where one is safe, the other may be lost with the machine
        tensorfile.write_atomically(copy, content, durably=copy == path)


def load(path: Path, sites: tuple[str, ...], digest: str) -> tuple[LoopState, dict[str, Tensors]] | None:
    """The state and the sites' states, from the newest good copy; None where there is no checkpoint yet.

    Raises:
        RunError: if both copies are damaged, or belong to a run of another configuration.
    """
    good, bad = [], []
    for copy in _copies(path):
        try:
            good.append(_read(copy))
        except FileNotFoundError:
            continue
        except (WireError, OSError) as error:
            bad.append(error)
    if bad and not good:
        raise RunError(f"{bad[0]} Delete this checkpoint and its copy, and start the run again.")
    for damage in bad:
        log.warning("%s The other copy is good, and nothing is lost.", damage)
    if not good:
        return None
    tensors, header, about = max(good, key=lambda content: int(content[2]["round"]))
    if header["run"] != digest:
        raise RunError(
            f"{path}: belongs to a run of another configuration or other data. "
            "Resume with the configuration it was started with, or give another --out."
        )
    state = LoopState(
        place=Place(about["asks"], about["round"], *(under(part, tensors) for part in PARTS)),
        best=under("best", tensors),
        best_round=about["best_round"],
        best_counts=under("counts", tensors),
        records=tuple(record_of(r) for r in about["records"]),
        statistics=record_of(about["statistics"]) if about.get("statistics") else None,
        refusals=about.get("refused", {}),
    )
    return state, {name: under(f"site/{name}", tensors) for name in sites}


def _copies(path: Path) -> tuple[Path, Path]:
    return path, path.with_name(f"{path.name}.copy")


def _read(path: Path) -> tuple[Tensors, dict[str, str], dict[str, Any]]:
    """One copy: arrays, header, and what the header says of the state.

    Raises:
        WireError: naming the file, if a byte of it is not as it was written.
        OSError: if it cannot be read.
    """
    tensors, header = tensorfile.load(path)
    if header.pop("sha256", "") != _sha256(tensors, header):
        raise WireError(f"{path}: its content is not what was written.")
    return tensors, header, json.loads(header["standing"])


def _sha256(tensors: Tensors, header: Mapping[str, str]) -> str:
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        sha.update(f"{name} {array.dtype} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def record_of(fields: dict[str, Any]) -> RoundRecord:
    """A round's record from its JSON."""
    names = {name: tuple(fields.get(name, ())) for name in ("sites", "dropped", "judges")}
    return RoundRecord(**(fields | names))
