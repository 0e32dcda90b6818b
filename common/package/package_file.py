"""From a file to a model that can be used, through every check; and from parts to a file.

Nothing in a package is executed: the model is one of this program's own, by name and parameters, and its arrays are in
safetensors format.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from common.config import first_fault
from common.errors import ConsiliumError, DataError, PackageError
from common.imaging import Pipeline
from common.imaging.step_order import AnyStep
from common.metrics import out_of_distribution
from common.models import Logits, Model, build
from common.models.private_layers import private_names
from common.package import zip_archive
from common.package.package_content import PackageContent
from common.storage import tensorfile
from common.trust.documents import SignedDocument, canonical, fingerprint, read_document, sign_document
from common.types import Images, Tensors, under

SUFFIX = ".consilium"
DOCUMENT, ARRAYS, CARD, PAGE, GRAPH = "package.json", "model.safetensors", "card.md", "card.html", "model.onnx"
NEEDED, ALLOWED = (ARRAYS, CARD, PAGE), (ARRAYS, CARD, PAGE, GRAPH)
ASK = "Do not use it; ask whoever gave it to you for a new one."


@dataclass(frozen=True)
class ModelPackage:
    """A package whose every check held but one: whether its publisher is to be trusted, which the caller decides."""

    content: PackageContent
    digest: str
    """The package's name: 64 hexadecimal digits."""
    weights: Tensors
    likeness: Tensors
    """How the training images look (`common.metrics.out_of_distribution`); empty where the run did not gather it."""
    pipeline: Pipeline
    """The whole preprocessing, with the federated mean and variance."""
    members: Mapping[str, bytes]
    has_own_layers: bool = False
    """Whether a hospital's private layers have been put in."""

    @property
    def fingerprint(self) -> str:
        """Of the publisher, to be compared once: a consortium's is that which its sites compared when they joined."""
        publisher = self.content.publisher
        return fingerprint(publisher.name.encode(), *map(bytes.fromhex, publisher.roots))

    def model(self) -> Model:
        """Built from this program's own code; the CNN takes seconds, for TensorFlow is imported.

        Raises:
            PackageError: the weights are another model's.
        """
        model = build(self.content.model, self.content.shape, len(self.content.labels))
        if {n: w.shape for n, w in model.init(0).items()} != {n: w.shape for n, w in self.weights.items()}:
            raise PackageError(f"{self.content.name}: its weights do not fit the model that it names. {ASK}")
        return model

    def completed(self, layers: Tensors) -> Self:
        """With a hospital's own private layers in the place of those that the training began with; the same package
        where all its layers are shared.

        Raises:
            PackageError: they are not all there, or of other shapes.
        """
        stays = private_names(self.weights, self.content.private)
        if {name: array.shape for name, array in layers.items()} != {name: self.weights[name].shape for name in stays}:
            raise PackageError(
                f"{self.content.name}: its {' and '.join(self.content.private)} layers stayed at the hospitals that "
                "trained it, each its own, and this one has none. Begin a training with it (model.initial), or use a "
                "model whose layers are all shared."
            )
        return replace(self, weights={**self.weights, **layers}, has_own_layers=True)

    def scores(self, model: Model, before: Images) -> Logits:
        """Logits of images as `pipeline.before` makes them.

        Raises:
            PackageError: it lacks private layers (`completed`).
            DataError: they are not of the model's shape.
        """
        if self.content.private and not self.has_own_layers:
            self.completed({})
        if before.shape[1:] != self.content.shape:
            raise DataError(
                f"{_size(before.shape[1:])} after the model's preprocessing, which has no step that makes it the "
                f"{_size(self.content.shape)} (height, width, channels) that the model was trained on."
            )
        return model.scores(self.weights, self.pipeline.after(before))


def draw_up_package(content: Mapping[str, Any], members: Mapping[str, bytes]) -> SignedDocument:
    """What the publisher of a package signs; nobody has yet.

    Args:
        content: all but what is said of the members.
        members: ARRAYS, CARD, PAGE and perhaps GRAPH.

    Raises:
        PackageError: it would be refused by whoever reads it.
    """
    names = [name for name in ALLOWED if name in members]
    fields = dict(content) | {"members": {name: hashlib.sha256(members[name]).hexdigest() for name in names}}
    try:
        content_json = PackageContent.model_validate(fields).model_dump(mode="json")
    except ValidationError as error:
        raise PackageError(f"cannot be packed: {first_fault(error)}.") from None
    return sign_document("package", content_json, ())


def pack_package(document: bytes, members: Mapping[str, bytes]) -> bytes:
    """The file of a package whose document its publisher has signed.

    Raises:
        PackageError: it would be refused by whoever reads it.
    """
    names = [name for name in ALLOWED if name in members]
    file = b"".join(zip_archive.pack({DOCUMENT: document} | {name: members[name] for name in names}))
    load_verified_package(file, "the new package")
    return file


def build_package(content: Mapping[str, Any], members: Mapping[str, bytes], keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """The file of a package that these keys sign, all at once: `draw_up_package`, then `pack_package`."""
    document = draw_up_package(content, members)
    return pack_package(sign_document("package", document.content, keys).encode(), members)


def read_package(path: Path, roots: Sequence[bytes] | None = None) -> ModelPackage:
    """A package from a file: see `admitted`.

    Raises:
        PackageError: naming the file.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:  # its size is not asked for: what is no plain file tells none
        file = stream.read(zip_archive.MOST_BYTES + 1)
    if len(file) > zip_archive.MOST_BYTES:
        raise PackageError(f"{path}: more than {zip_archive.MOST_BYTES:,} bytes, which no package has. {ASK}")
    return load_verified_package(file, str(path), roots)


def load_verified_package(file: bytes, name: str, roots: Sequence[bytes] | None = None) -> ModelPackage:
    """A package that is whole, signed by its publisher, and in which all belongs together.

    Args:
        name: what an error calls it.
        roots: whose signatures it must have; None: those that it names itself, and whether they are to be trusted is
            for the caller to settle by `ModelPackage.fingerprint`.

    Raises:
        PackageError: saying which check did not hold.
    """
    try:
        return _load_verified_package(file, roots)
    except ConsiliumError as error:
        raise PackageError(f"{name}: {error}") from None


def _load_verified_package(file: bytes, roots: Sequence[bytes] | None) -> ModelPackage:
    members = zip_archive.unpack(file)
    if next(iter(members)) != DOCUMENT:
        raise PackageError(f"its first member is not {DOCUMENT}. {ASK}")
    document = read_document(members[DOCUMENT], "package")
    if (
        replace(document, content=json.loads(canonical(document.content))).encode() != members[DOCUMENT]
    ):  # keys in order
        raise PackageError(f"{DOCUMENT} is not written as this program writes it. {ASK}")
    try:
        content = PackageContent.model_validate(document.content)
    except ValidationError as error:
        raise PackageError(f"{DOCUMENT}: {first_fault(error)}. Is it of a later release than this program?") from None
    publisher_keys = tuple(map(bytes.fromhex, content.publisher.roots))
    if roots is not None and set(roots) != set(publisher_keys):
        raise PackageError(f"is signed by '{content.publisher.name}' under other keys than those pinned here. {ASK}")
    if tuple(document.signatures) != publisher_keys:
        raise PackageError(f"has other signatures than its publisher's. {ASK}")
    document.verify(publisher_keys, f"the publisher '{content.publisher.name}'")
    _refuse_other_members(content, members)
    arrays, header = tensorfile.unpack(members[ARRAYS])
    if header or tensorfile.pack(arrays, {}) != members[ARRAYS]:
        raise PackageError(f"{ARRAYS} is not written as this program writes it. {ASK}")
    weights = under("weights", arrays)
    if hashlib.sha256(tensorfile.pack(weights, {})).hexdigest() != content.provenance.weights:
        raise PackageError(f"its weights are not those that its provenance names. {ASK}")
    _refuse_odd(arrays)
    looks = under("likeness", arrays)
    if content.likeness and not out_of_distribution.possible(looks):
        raise PackageError(f"what it says of images unlike the training's does not fit this release. {ASK}")
    return ModelPackage(content, document.digest.hex(), weights, looks, _pipeline(content, arrays), members)


def _refuse_other_members(content: PackageContent, members: Mapping[str, bytes]) -> None:
    names = [name for name in members if name != DOCUMENT]
    expected_names = [name for name in ALLOWED if name in content.members]
    if names != expected_names or len(expected_names) != len(content.members) or not set(NEEDED) <= set(names):
        raise PackageError(f"holds {', '.join(names) or 'nothing'}; expected {', '.join(content.members)}. {ASK}")
    for name in names:
        if hashlib.sha256(members[name]).hexdigest() != content.members[name]:
            raise PackageError(f"{name} is not the one that was signed. {ASK}")


def _refuse_odd(arrays: Tensors) -> None:
    for name, array in arrays.items():
        if name.partition("/")[0] not in ("weights", "recipe", "likeness"):
            raise PackageError(f"{ARRAYS} holds '{name}', which no package has. {ASK}")
        if array.dtype not in (np.float32, np.float64) or not np.isfinite(array).all():
            raise PackageError(f"'{name}' in {ARRAYS} holds what is no finite number. {ASK}")


def _pipeline(content: PackageContent, arrays: Tensors) -> Pipeline:
    """The preprocessing, if it has the fingerprints that were signed."""
    pipeline, recipe = Pipeline(content.preprocess), under("recipe", arrays)
    if pipeline.fingerprint() != content.recipe:
        raise PackageError(
            "its preprocessing, as this release does it, has not the fingerprint that was signed: predictions would "
            "not be the model's. Use the release that it names in its card."
        )
    if set(recipe) != ({"mean", "variance"} if pipeline.needs_statistics else set()):
        raise PackageError(f"its mean and variance do not go with its preprocessing. {ASK}")
    whole = whole_pipeline(content.preprocess, recipe)
    if whole.fingerprint() != content.fingerprint:
        raise PackageError(f"its mean and deviation have not the fingerprint that was signed. {ASK}")
    return whole


def whole_pipeline(steps: Sequence[AnyStep], recipe: Tensors) -> Pipeline:
    """The preprocessing, with the federated mean and variance where it has them."""
    pipeline = Pipeline(steps)
    return pipeline.with_statistics(recipe["mean"], recipe["variance"]) if recipe else pipeline


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
