"""Models to be evaluated: finished runs by name; their arrays are kept by their SHA-256 until the sites are asked."""

import json
from pathlib import Path

from common import tensorfile
from common.errors import RunError, WireError
from common.examined import Examined, arrays_of, fingerprint_of
from common.types import Tensors
from server.home import Home
from server.runs import Run


def found(home: Home, name: str) -> tuple[Examined, Run]:
    """The model of a finished run of this consortium; its arrays are put where `arrays` looks for them.

    Raises:
        PlanError: no such run.
        RunError: a run that has no model, or not the one that its result tells of.
    """
    run = Run.find(home, name)
    told, path = run.plan.content, run.folder / "model.safetensors"
    if told.models:
        raise RunError(f"run {run.name} is an evaluation, expected one that has trained a model.")
    try:
        file, about = tensorfile.load(path)
        arrays = arrays_of(file)
        threshold = json.loads(about["threshold"].replace("None", "null"))
    except (OSError, KeyError, ValueError, WireError):
        raise RunError(f"{path}: no model; expected a run that has finished. See python -m server history.") from None
    model = Examined(
        name=run.name, sha256=fingerprint_of(arrays), training=told.training, shape=told.shape, recipe=told.recipe,
        threshold=threshold, looks=any(name.startswith("likeness/") for name in arrays),
    )  # fmt: skip
    tensorfile.save(_place(home, model.sha256), arrays, {})
    return model, run


def arrays(home: Home, model: Examined) -> Tensors:
    """Weights, and federated mean and variance, of a model that a plan names.

    Raises:
        RunError: if they are not there any more, or others.
    """
    path = _place(home, model.sha256)
    try:
        told, _ = tensorfile.load(path)
    except (OSError, WireError) as error:
        raise RunError(f"{path}: the arrays of model {model.name} cannot be read ({error}). Evaluate anew.") from None
    if fingerprint_of(told) != model.sha256:
        raise RunError(f"{path}: is not the model {model.name} that the plan names. Evaluate anew.")
    return told


def _place(home: Home, sha256: str) -> Path:
    return home.folder / "models" / f"{sha256}.safetensors"
