"""From a configuration with a step `embed` to a package: computed once, kept, trained, exported, explained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import simulate
from client.__main__ import main as client
from client.dataset import loading
from client.prediction.evidence import evidence_of
from client.prediction.inputs import images as images_of
from client.prediction.outcome import Outcome, outcomes
from client.sources import prepared_cache
from common import config as configuration
from common.encoders import Encoder, encoder_library
from common.errors import ConfigError, EncoderError
from common.package import package_file
from server.__main__ import main as server

STEPS: list[dict[str, Any]] = [{"step": "embed", "encoder": "drawn"}, {"step": "normalise", "by": "federated"}]


@pytest.fixture
def config(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 160)
    grey = rng.integers(60, 120, (160, 24, 24)) + 60 * labels[:, None, None] * (np.arange(24) % 6 < 3)
    np.savez(tmp_path / "bars.npz", images=grey.astype(np.uint8), labels=labels)
    tree = {
        "name": "bars",
        "data": {"kind": "npz", "path": "bars.npz", "labels": ["plain", "bars"]},
        "sites": {"split": "iid", "count": 3, "validation": 0.2, "test": 0.2},
        "preprocess": STEPS,
        "model": {"kind": "svm", "loss": "logistic", "C": 0.1},
        "federation": {"rounds": 60, "select": "last"},
        "cross_site": False,
    }
    (path := tmp_path / "bars.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_loading_says_which_encoder_it_is(config: Path, encoder: Encoder) -> None:
    step = configuration.load(config).preprocess[1]
    assert step.model_dump() == {
        "step": "embed", "encoder": "drawn", "sha256": encoder.sha256, "layers": ("sum", "last"), "size": 32,
        "range": "encoder", "channels": "repeat",
    }  # fmt: skip
    with pytest.raises(EncoderError, match=r"bars.yaml: preprocess: encoder other is not on this machine"):
        configuration.load(config, ["preprocess=[{step: embed, encoder: other}]"])


@pytest.mark.parametrize(
    ("steps", "why"),
    [("{step: embed, encoder: drawn}, {step: resize, size: 9}", "only normalise may come after it"),
     ("{step: normalise, by: image}, {step: embed, encoder: drawn}", "put normalise after it"),
     ("{step: embed, encoder: drawn}, {step: embed, encoder: drawn}", "only normalise may come after it")],
)  # fmt: skip
def test_an_order_that_means_nothing_is_refused(config: Path, steps: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        configuration.load(config, [f"preprocess=[{steps}]"])


def test_an_image_is_looked_at_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = configuration.load(config)
    data = loading.load(loaded, 1)
    [path] = [p for p in Path("cache/prepared").iterdir() if not p.suffix]
    size = path.stat().st_size
    monkeypatch.setattr(prepared_cache.PreparedImages, "_append", None)  # whatever is to be written down now, fails
    again = loading.load(loaded, 1)
    assert np.array_equal(again.sites[0].train.images, data.sites[0].train.images)
    assert path.stat().st_size == size


def test_what_was_cut_or_damaged_is_made_again(config: Path) -> None:
    loaded = configuration.load(config)
    data = loading.load(loaded, 1)
    [path] = [p for p in Path("cache/prepared").iterdir() if not p.suffix]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 3])
    again = loading.load(loaded, 1)
    assert np.array_equal(again.test.images, data.test.images)
    assert len(path.read_bytes()) == len(content)


def test_federated_is_pooled_and_the_package_explains_itself(config: Path, tmp_path: Path) -> None:
    assert simulate.main([str(config)]) == 0
    folder = tmp_path / "runs" / "bars"
    result = json.loads((folder / "result.json").read_text())
    figures = result["seeds"][0]["sites"]["site-1"]
    assert figures["federated"]["auc"] == pytest.approx(figures["pooled"]["auc"], abs=2e-3)
    assert figures["federated"]["auc"] > 0.9
    key, out = tmp_path / "publisher.key", tmp_path / "bars.consilium"
    assert server(["export", str(folder), "--key", str(key), "--out", str(out), "--onnx"]) == 0
    package = package_file.read_package(out)
    card = package.members["card.md"].decode()
    assert "Its encoder drawn" in card
    assert "CC0-1.0; drawn at random by a test. It was trained on nothing" in card.replace("\\", "")
    model = package.model()
    from PIL import Image

    with np.load("bars.npz") as arrays:
        Image.fromarray(arrays["images"][0]).save(tmp_path / "one.png")
    [seen] = outcomes(package, model, images_of([str(tmp_path / "one.png")], Path("site"), "middle"))
    assert isinstance(seen, Outcome)
    heat = evidence_of(package, model, seen)
    log_odds = seen.logits[seen.answer] - seen.logits[1 - seen.answer]
    score = log_odds - (1 if seen.answer else -1) * float(package.weights["intercept"][0])
    assert heat.is_signed
    assert float(heat.map.sum()) == pytest.approx(score, rel=0.05, abs=0.05)  # maps are enlarged to one size


def test_a_package_without_its_encoder_says_so(config: Path, tmp_path: Path, library: Path) -> None:
    assert simulate.main([str(config), "federation.rounds=4"]) == 0
    out = tmp_path / "bars.consilium"
    assert server(["export", "runs/bars", "--key", str(tmp_path / "p.key"), "--out", str(out)]) == 0
    for file in library.glob("*.encoder"):
        file.unlink()
    encoder_library._load.cache_clear()
    package = package_file.read_package(out)
    with pytest.raises(EncoderError, match=r"is not on this machine. Add its file, python -m client encoders add"):
        package.pipeline.embed.settled()  # type: ignore[union-attr]


def test_the_commands_of_encoders(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path / "others"))
    Path("drawn.encoder").write_bytes(encoder.content)
    assert client(["encoders"]) == 0
    assert "No encoder in" in capsys.readouterr().out
    assert client(["encoders", "add", "drawn.encoder"]) == 0
    assert "licence     CC0-1.0" in capsys.readouterr().out
    assert client(["encoders"]) == 0
    assert encoder.sha256 in capsys.readouterr().out
    assert client(["encoders", "show", "drawn"]) == 0
    assert "layers      first (8), sum (8), last (24); usual: sum, last" in capsys.readouterr().out
    assert client(["encoders", "show", "other"]) == 2
    assert "there are: drawn" in capsys.readouterr().err
    assert client(["encoders", "add", "bars.yaml"]) == 2
    assert "bars.yaml: cannot be read" in capsys.readouterr().err
