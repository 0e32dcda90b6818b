"""Models to be evaluated: finished runs by name, and packages; their arrays are kept until the sites are asked."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.config import Training
from common.errors import IdentityError, RunError, WireError
from common.package import SUFFIX, ModelPackage
from common.package.package_file import ARRAYS, read_package
from common.plans.evaluated_model import EvaluatedModel, arrays_of, fingerprint_of
from common.storage import tensorfile
from common.types import Tensors
from server.consortium.home import Home
from server.runs.run import Run


@dataclass(frozen=True)
class StoredModel:
    """A model, and what an evaluation of it takes from where it comes from."""

    model: EvaluatedModel
    labels: tuple[str, ...]
    dataset: str = ""
    """Empty where a package does not say."""
    purpose: str = ""
    cohort: tuple[str, ...] = ()


LOOKS = "likeness/"
Trusts = Callable[[ModelPackage], bool]
"""Whether a package of somebody else's is to be used."""


def load(home: Home, name: str, trusts: Trusts) -> StoredModel:
    """A model by a run's name or a package's file; its arrays are put where `arrays` looks for them.

    Raises:
        PlanError, RunError: no such run, or one that has no model.
        PackageError: a package in which a check does not hold; OSError if it cannot be read.
        IdentityError: a publisher that is not trusted.
    """
    return _of_package(home, Path(name), trusts) if name.endswith(SUFFIX) else _of_run(home, name)


def _of_run(home: Home, name: str) -> StoredModel:
    run = Run.find(home, name)
    plan, path = run.plan.content, run.folder / "model.safetensors"
    _refuse_private(name, plan.training.federation.local.private)
    if plan.models:
        raise RunError(f"run {run.name} is an evaluation, expected one that has trained a model.")
    try:
        file, about = tensorfile.load(path)
        threshold = json.loads(about["threshold"].replace("None", "null"))
    except (OSError, KeyError, ValueError, WireError):
        raise RunError(f"{path}: no model; expected a run that has finished. See python -m server history.") from None
    # How far the sites' images are from the training's they have answered, in this run or in one that it carries from.
    arrays = {name: value for name, value in arrays_of(file).items() if not name.startswith(LOOKS)}
    model = EvaluatedModel(
        name=run.name, sha256=fingerprint_of(arrays), training=plan.training, shape=plan.shape, recipe=plan.recipe,
        threshold=threshold,
    )  # fmt: skip
    return _store(home, arrays, StoredModel(model, plan.labels, plan.dataset, plan.purpose, run.state.cohort))


def _of_package(home: Home, path: Path, trusts: Trusts) -> StoredModel:
    package = read_package(path)
    content = package.content
    is_ours = {root.hex() for root in home.pins.roots} == set(content.publisher.roots)
    if not is_ours and not trusts(package):
        raise IdentityError(
            "fingerprint", f"{path}: '{content.publisher.name}' is not this consortium, and its fingerprint was not "
            'confirmed. Compare it with the publisher, and answer yes, or give --fingerprint "…".',
        )  # fmt: skip
    _refuse_private(str(path), content.private)
    arrays = arrays_of(tensorfile.unpack(package.members[ARRAYS])[0])
    model = EvaluatedModel(
        name=content.name, sha256=fingerprint_of(arrays), shape=content.shape, recipe=content.recipe,
        threshold=content.threshold,
        training=Training(name=content.name, preprocess=content.preprocess, model=content.model), looks=_looks(arrays),
    )  # fmt: skip
    return _store(home, arrays, StoredModel(model, content.labels))


def _refuse_private(name: str, layers: Sequence[str]) -> None:
    if layers:
        raise RunError(
            f"{name}: its {' and '.join(layers)} layers stayed at each hospital, so there is no one model to evaluate: "
            "its rounds were evaluated with each site's own. Expected a model whose layers are all shared."
        )


def _looks(arrays: Tensors) -> bool:
    return any(name.startswith(LOOKS) for name in arrays)


def _store(home: Home, arrays: Tensors, model: StoredModel) -> StoredModel:
    tensorfile.save(_path(home, model.model.sha256), arrays, {})
    return model


def arrays(home: Home, model: EvaluatedModel) -> Tensors:
    """Weights, and federated mean and variance, of a model that a plan names.

    Raises:
        RunError: if they are not there any more, or others.
    """
    path = _path(home, model.sha256)
    try:
        tensors, _ = tensorfile.load(path)
    except (OSError, WireError) as error:
        raise RunError(f"{path}: the arrays of model {model.name} cannot be read ({error}). Evaluate again.") from None
    if fingerprint_of(tensors) != model.sha256:
        raise RunError(f"{path}: is not the model {model.name} that the plan names. Evaluate again.")
    return tensors


def _path(home: Home, sha256: str) -> Path:
    return home.folder / "models" / f"{sha256}.safetensors"
