"""A finished run as one signed package: `python -m server export RUN`. What is in it: docs/sharing.md."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from common.config import ModelConfig, first_fault
from common.errors import ConfigError, RunError
from common.imaging.step_order import Steps
from common.metrics import calibration, out_of_distribution
from common.package import ModelPackage, PackageContent, draw_up_package, pack_package
from common.package.package_file import ARRAYS, CARD, GRAPH, PAGE, whole_pipeline
from common.storage import tensorfile
from common.storage.files import read_json, write_secret
from common.trust.documents import SignedDocument, sign_document
from common.trust.keys import public_of
from common.types import Tensors, under
from server.consortium.home import Home
from server.export import card_page, model_card
from server.export.model_card import CardTerms
from server.report import sentences


@dataclass(frozen=True)
class SigningPublisher:
    """The publisher who signs a package."""

    name: str
    keys: Sequence[Ed25519PrivateKey]
    home: Home | None = None
    """The consortium's folder, where it is a consortium that signs."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """Public keys of all who have to sign."""
        return self.home.signers if self.home else tuple(map(public_of, self.keys))


def publisher_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file, made there if there is none.

    Raises:
        ConfigError: it holds something else.
    """
    if not path.exists():
        write_secret(path, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode())
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="utf-8")))
    except (ValueError, UnicodeError):
        raise ConfigError(f"{path}: expected a key of 64 hexadecimal digits. Name another file with --key.") from None


def export(folder: Path, publisher: SigningPublisher, terms: CardTerms, *, onnx: bool = False) -> bytes:
    """The package of the run in a folder, signed by a publisher who has all keys at hand: see `draw_up`."""
    document, members = draw_up(folder, publisher, terms, onnx=onnx)
    return pack_package(sign_document("package", document.content, publisher.keys).encode(), members)


def draw_up(
    folder: Path, publisher: SigningPublisher, terms: CardTerms, *, onnx: bool = False
) -> tuple[SignedDocument, dict[str, bytes]]:
    """What the publisher of a run's package is to sign, and the package's other members.

    Args:
        onnx: put the model in as an ONNX graph as well.

    Raises:
        RunError: the folder has not all that is needed.
        ConfigError: a country is given for what is no site of the run, or a graph is asked of a model with layers that
            stayed at each hospital.
        PackageError: it would be refused by whoever reads it.
    """
    result, (arrays, header) = read_json(folder / "result.json"), _model(folder)
    if result is None:
        raise RunError(f"{folder}: no result.json. A run is exported when it has finished.")
    if strangers := sorted(set(terms.countries) - set(trainers := sentences.trainers(result))):
        raise ConfigError(f"--country {strangers[0]}=…: trained nothing in this run; {', '.join(trainers)} did.")
    fields = _content(result, arrays, header, publisher, terms)
    try:
        content = PackageContent.model_validate(fields | {"members": {}})
    except ValidationError as error:
        raise RunError(f"{folder}: {first_fault(error)}; cannot be exported.") from None
    sections = model_card.sections(content, result, terms)
    members = {
        ARRAYS: tensorfile.pack(arrays, {}),
        CARD: card_page.markdown(content.name, sections),
        PAGE: card_page.page(content.name, sections),
    }
    if onnx:
        if content.private:
            raise ConfigError(
                f"--onnx: the {' and '.join(content.private)} layers of this model stayed at the hospitals, each its "
                "own, and the run has none of them: a graph would hold what they began with. Export it without "
                "--onnx; a hospital's predict puts its own layers in."
            )
        from common.package.onnx_graph import graph  # onnx takes a while

        members[GRAPH] = graph(content.model, content.shape, content.labels, under("weights", arrays),
                               whole_pipeline(content.preprocess, under("recipe", arrays)))  # fmt: skip
    return draw_up_package(fields, members), members


def difference(package: ModelPackage, images: int) -> float | None:
    """The most by which the ONNX graph's logits differ from the model's own on made-up images; None: no onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    from common.package.onnx_graph import inside

    session = onnxruntime.InferenceSession(package.members[GRAPH], providers=["CPUExecutionProvider"])
    rng, step = np.random.default_rng(1), package.pipeline.embed
    if step:
        pictures = rng.random((images, 64, 64, 3), dtype=np.float32)
        graph_input, before = step.inputs(pictures), step.apply(pictures)
    else:
        before = rng.random((images, *package.content.shape), dtype=np.float32)
        graph_input = before if inside(package.pipeline) else package.pipeline.after(before)[:]
    theirs = session.run(["logits"], {"images": graph_input})[0]
    return float(np.abs(theirs - package.scores(package.model(), before)).max())


def _model(folder: Path) -> tuple[Tensors, Mapping[str, str]]:
    try:
        arrays, header = tensorfile.load(folder / "model.safetensors")
    except FileNotFoundError:
        raise RunError(f"{folder}: no model.safetensors. A run is exported when it has finished.") from None
    if "shape" not in header:
        raise RunError(f"{folder}: its model does not say for which size of image it is: a run of an older release.")
    return arrays, header


def _content(
    result: Mapping[str, Any], arrays: Tensors, header: Mapping[str, str], publisher: SigningPublisher, terms: CardTerms
) -> dict[str, Any]:
    config, threshold = result["config"], header["threshold"]
    whole = whole_pipeline(TypeAdapter[Any](Steps).validate_python(config["preprocess"]), under("recipe", arrays))
    return {
        "name": result["name"],
        "publisher": {"name": publisher.name, "roots": [root.hex() for root in publisher.roots]},
        "labels": result["labels"],
        "model": TypeAdapter[Any](ModelConfig).validate_json(header["model"]).model_dump(mode="json"),
        "private": config["federation"]["local"].get("private", ()),
        "shape": [int(side) for side in header["shape"].split("×")],
        "preprocess": config["preprocess"],
        "recipe": header["preprocess"],
        "fingerprint": whole.fingerprint(),
        "threshold": json.loads(threshold.replace("None", "null")),
        "rule": config["operating_point"],
        "calibration": _calibration(result),
        "likeness": _likeness(under("likeness", arrays)),
        "licence": terms.licence,
        "provenance": _provenance(result, publisher),
    }


def _calibration(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How the summed validation cases were scored."""
    validation = (result.get("counts") or {}).get("validation")
    classes = []
    for one in validation["classes"] if validation else ():
        histogram = one["histogram"]
        spacing = histogram.get("spacing", "linear")  # of a run of release 0.2
        outside, inside = (
            calibration.dense(histogram["bins"], histogram[side], spacing) for side in ("outside", "inside")
        )
        slope, intercept = calibration.fitted(outside, inside)
        classes.append({"label": one["class"], "slope": slope, "intercept": intercept} | histogram)
    return classes


def _likeness(looks: Tensors) -> dict[str, Any] | None:
    """When an image counts as unlike the training's; None where the run gathered nothing, or nothing was evaluated."""
    distances = looks.get("distances", np.zeros(0))
    if not distances.sum() or not looks["n"][0]:
        return None
    limit, share = out_of_distribution.limit(distances)
    return {"limit": limit, "validation": int(distances.sum()), "share": share}


def _provenance(result: Mapping[str, Any], publisher: SigningPublisher) -> dict[str, Any]:
    is_simulated, home = sentences.is_simulated(result), publisher.home
    synthetic = is_simulated and result["config"]["data"]["kind"] == "synthetic"
    fields = {
        "kind": "synthetic" if synthetic else "simulation" if is_simulated else "federation",
        "run": result["name"],
        "sites": sentences.trainers(result),
        "release": result["release"],
        "code": result["code"],
        "weights": result["seeds"][0]["weights_sha256"] if is_simulated else result["weights_sha256"],
        "exported_s": round(time.time()),
    }
    if is_simulated or home is None:
        return fields
    head = home.log.head()
    return fields | {
        "plan": result["plan"],
        "consortium": result["consortium"],
        "roster": home.roster.version,
        "roster_digest": home.roster.digest.hex(),
        "audit_head": {"size": head.size, "root": head.root.hex(), "at_s": head.at_s} if head else None,
    }
