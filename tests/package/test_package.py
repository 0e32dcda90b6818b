"""A package gives the model's own predictions, and is refused whatever is done to it."""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.config import Cnn, Svm
from common.errors import ConfigError, PackageError
from common.imaging import Pipeline
from common.models import build
from common.package import load_verified_package
from common.package.onnx_graph import graph, inside
from common.package.package_file import ARRAYS, CARD, DOCUMENT, GRAPH, PAGE
from common.storage import tensorfile
from common.trust.documents import sign_document
from common.trust.keys import public_of
from common.types import under
from server.export.model_card import CardTerms
from server.export.package import SigningPublisher, export
from tests.package.shop import KEY, Made, packed, put, taken

OTHER = Ed25519PrivateKey.from_private_bytes(b"somebody else's key, 32 bytes so")


def test_predictions_are_the_same_bits_before_and_after_export(made: Made) -> None:
    arrays, _ = tensorfile.load(made.run / "model.safetensors")
    recipe, images = under("recipe", arrays), made.data.test.images
    pipeline = made.data.pipeline.with_statistics(recipe["mean"], recipe["variance"]) if recipe else made.data.pipeline
    before = build(made.config.model_for(1), images.shape[1:], 2).scores(
        under("weights", arrays), pipeline.after(images)
    )
    shared = load_verified_package(made.file, "p", [public_of(KEY)])
    assert np.array_equal(shared.scores(shared.model(), images), before)


def test_onnx_gives_the_model_s_logits(made: Made) -> None:
    images = made.data.test.images
    session = onnxruntime.InferenceSession(made.shared.members[GRAPH], providers=["CPUExecutionProvider"])
    given = images if inside(made.shared.pipeline) else made.shared.pipeline.after(images)
    own = made.shared.scores(made.shared.model(), images)
    assert np.abs(session.run(["logits"], {"images": given})[0] - own).max() <= 1e-5


@pytest.mark.parametrize(
    ("config", "shape", "classes"),
    [
        (Cnn(kind="cnn", architecture="plain"), (28, 28, 1), 2),
        (Cnn(kind="cnn", architecture="groupnorm", width=12), (33, 20, 3), 3),
        (Cnn(kind="cnn", architecture="resnet", width=8), (33, 34, 1), 2),
        (Cnn(kind="cnn", architecture="resnet", width=4), (101, 96, 1), 4),
        (Svm(kind="svm", features="fourier", dimension=65, seed=3), (9, 8, 3), 3),
        (Svm(kind="svm"), (9, 8, 1), 2),
    ],
    ids=["plain", "groupnorm", "resnet", "large resnet", "fourier", "linear"],
)
def test_every_model_has_its_onnx_graph(config: Any, shape: tuple[int, int, int], classes: int) -> None:
    random, model = np.random.default_rng(1), build(config, shape, classes)
    weights = {n: (w + random.normal(0, 0.05, w.shape)).astype(w.dtype) for n, w in model.init(1).items()}
    images = random.normal(0, 1, (5, *shape)).astype(np.float32)
    made = graph(config, shape, [str(i) for i in range(classes)], weights, Pipeline())
    theirs = onnxruntime.InferenceSession(made).run(["logits"], {"images": images})[0]
    assert np.abs(theirs - model.scores(weights, images)).max() <= 1e-5


def test_the_same_package_is_the_same_bytes_and_any_zip_program_opens_it(svm: Made) -> None:
    assert packed(dict(svm.shared.members)) == svm.file
    with zipfile.ZipFile(io.BytesIO(svm.file)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [DOCUMENT, ARRAYS, CARD, PAGE, GRAPH]


# --- tampering ------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return out.getvalue()


def twice(svm: Made) -> bytes:
    """Two cards: which one a reader shows depends on the reader."""
    members = dict(svm.shared.members) | {"carx.md": b"# harmless\n"}
    return packed(members).replace(b"carx.md", b"card.md")


def told(
    svm: Made, change: Callable[[dict[str, Any]], None], key: Ed25519PrivateKey | None = None, **members: bytes
) -> bytes:
    """Another package.json: under the old signature, or signed anew by a key."""
    inner = dict(svm.shared.members)
    for name, content in members.items():
        inner[{"arrays": ARRAYS, "card": CARD}[name]] = content
    paper = json.loads(inner[DOCUMENT])
    change(paper["content"])
    if key:
        inner[DOCUMENT] = sign_document("package", paper["content"], [key]).encode()
    else:
        inner[DOCUMENT] = (json.dumps(paper, indent=1) + "\n").encode()
    return packed(inner)


def with_arrays(svm: Made, change: Callable[[dict[str, Any]], None], key: Ed25519PrivateKey | None = None) -> bytes:
    """Other arrays; where a key signs, with their digest in package.json."""
    arrays, _ = tensorfile.unpack(svm.shared.members[ARRAYS])
    change(arrays)
    file = tensorfile.pack(arrays, {})

    def digest(content: dict[str, Any]) -> None:
        if key:
            content["members"][ARRAYS] = hashlib.sha256(file).hexdigest()

    return told(svm, digest, key, arrays=file)


def without_signature(svm: Made) -> bytes:
    paper = json.loads(svm.shared.members[DOCUMENT])
    return packed(
        dict(svm.shared.members) | {DOCUMENT: (json.dumps(paper | {"signatures": {}}, indent=1) + "\n").encode()}
    )


def upper(svm: Made) -> bytes:
    """The same signature in capital letters."""
    paper = json.loads(svm.shared.members[DOCUMENT])
    paper["signatures"] = {key.upper(): value for key, value in paper["signatures"].items()}
    return packed(dict(svm.shared.members) | {DOCUMENT: (json.dumps(paper, indent=1) + "\n").encode()})


def reordered(svm: Made) -> bytes:
    first, *rest = svm.shared.members.items()
    return packed(dict([first, *reversed(rest)]))


def lied(file: bytes, at: int, value: bytes) -> bytes:
    return file[:at] + value + file[at + len(value) :]


def moved_weight(arrays: dict[str, Any]) -> None:
    name = next(n for n in arrays if n.startswith("weights/"))
    arrays[name] = arrays[name] + 1e-9


WAYS: dict[str, Callable[[Made], bytes]] = {
    "cut short": lambda m: m.file[:-1],
    "cut in the middle": lambda m: m.file[: len(m.file) // 2],
    "empty": lambda m: b"",
    "a byte behind": lambda m: m.file + b"\0",
    "a byte in front": lambda m: b"\0" + m.file,
    "a comment": lambda m: m.file[:-2] + b"\x02\0hi",
    "a member more": lambda m: packed(dict(m.shared.members) | {"more.txt": b"hello"}),
    "a pickle more": lambda m: packed(dict(m.shared.members) | {"model.pkl": b"\x80\x04N."}),
    "a member less": lambda m: packed({n: c for n, c in m.shared.members.items() if n != GRAPH}),
    "no card": lambda m: packed({n: c for n, c in m.shared.members.items() if n != CARD}),
    "another order": reordered,
    "a name twice": twice,
    "compressed": lambda m: zipped(dict(m.shared.members), zipfile.ZIP_DEFLATED),
    "a bomb": lambda m: zipped({DOCUMENT: m.shared.members[DOCUMENT], ARRAYS: bytes(2**26)}, zipfile.ZIP_DEFLATED),
    "packed by another program": lambda m: zipped(dict(m.shared.members)),
    "a path upwards": lambda m: zipped(dict(m.shared.members) | {"../card.md": b"x"}),
    "an absolute path": lambda m: zipped(dict(m.shared.members) | {"/etc/passwd": b"x"}),
    "a size that lies": lambda m: lied(m.file, 18, b"\xff\xff\xff\x7f"),
    "another model's arrays": lambda m: with_arrays(m, moved_weight),
    "another card": lambda m: told(m, lambda _: None, card=b"# harmless\n"),
    "another label": lambda m: told(m, put("labels", value=["disease", "clear"])),
    "another operating point": lambda m: told(m, put("threshold", value=-9.0)),
    "another preprocessing": lambda m: told(m, put("preprocess", value=[])),
    "another calibration": lambda m: told(m, put("calibration", value=[])),
    "no warnings": lambda m: told(m, put("likeness", value=None)),
    "another licence": lambda m: told(m, put("licence", value="do what you like")),
    "another provenance": lambda m: told(m, put("provenance", "kind", value="federation")),
    "the signature away": without_signature,
    "the signature in capitals": upper,
    "another key under the publisher's name": lambda m: told(m, lambda _: None, OTHER),
    "signed by another, keys and all": lambda m: told(
        m, put("publisher", "roots", value=[public_of(OTHER).hex()]), OTHER
    ),
    # What even the publisher's own key cannot make right:
    "a fingerprint that is not its recipe's": lambda m: told(m, put("recipe", value="0" * 64), KEY),
    "a fingerprint of other statistics": lambda m: told(m, put("fingerprint", value="0" * 64), KEY),
    "steps that are not its fingerprint's": lambda m: told(m, put("preprocess", value=[{"step": "clahe"}]), KEY),
    "weights that are not its provenance's": lambda m: with_arrays(m, moved_weight, KEY),
    "weights that are not finite": lambda m: with_arrays(
        m, lambda a: a.update({"recipe/odd": np.array([np.nan])}), KEY
    ),
    "a key that no release knows": lambda m: told(m, put("code_to_run", value="import os"), KEY),
    "a later format": lambda m: told(m, put("format", value=2), KEY),
    "an architecture that is not ours": lambda m: told(m, put("model", value={"kind": "keras-h5"}), KEY),
}


def test_a_package_that_was_tampered_with_is_refused(svm: Made) -> None:
    assert taken(svm, WAYS) == []
    assert len(WAYS) >= 20


def test_every_byte_of_package_json_counts(svm: Made) -> None:
    own, members = svm.shared.members[DOCUMENT], dict(svm.shared.members)
    del members[GRAPH]  # only to be quick: what is signed is looked at first
    for at in range(len(own)):
        members[DOCUMENT] = own[:at] + bytes([own[at] ^ (1 << at % 8)]) + own[at + 1 :]
        with pytest.raises(PackageError):
            load_verified_package(packed(members), "p", [public_of(KEY)])


def test_a_byte_anywhere_in_the_file_counts(svm: Made) -> None:
    for at in range(0, len(svm.file), 97):
        with pytest.raises(PackageError):
            load_verified_package(lied(svm.file, at, bytes([svm.file[at] ^ 0x20])), "p", [public_of(KEY)])


def test_a_card_says_what_it_is_in_plain_words(made: Made) -> None:
    card = made.shared.members[CARD].decode()
    own = made.shared.content.provenance.weights
    said = ("synthetic", "not a medical device", "Portugal", "CC0-1.0", "95 % intervals", "validation cases", own)
    for words in (*said, "Secure aggregation was on"):
        assert words in card
    assert made.shared.members[PAGE].startswith(b"<!DOCTYPE html>")
    assert b"<script" not in made.shared.members[PAGE]


def test_no_graph_is_made_of_layers_that_stayed_at_the_hospitals(svm: Made, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(svm.run, folder)
    result = json.loads((folder / "result.json").read_text())
    result["config"]["federation"]["local"]["private"] = ["head"]
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(ConfigError, match="the head layers of this model stayed at the hospitals"):
        export(folder, SigningPublisher("tests", [KEY]), CardTerms("research", "CC0-1.0", {}), onnx=True)
    assert export(folder, SigningPublisher("tests", [KEY]), CardTerms("research", "CC0-1.0", {}))
