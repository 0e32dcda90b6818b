"""The whole way with an encoder, each machine with a library of its own: catalogue, take, approve, train, predict.

The weights are those of the simulation of the same configuration, run whole or interrupted and gone on with.
"""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import encoder_from_wheel
from common.encoders import encoder_library
from common.storage.files import read_json
from simulate import main as simulate
from tests.consortium.consortium import LEAST
from tests.deployment.federation import ROOT, Federation
from tests.deployment.whole import SITES, ended, simulated, until, written

pytestmark = pytest.mark.slow

STEPS = [{"step": "embed", "encoder": "efficientnet-lite0", "size": 64}, {"step": "normalise", "by": "federated"}]


def configuration(folder: Path) -> Path:
    """A plan on phantoms, 704 numbers an image."""
    return written(
        folder / "config.yaml",
        {
            "name": "seen",
            "data": {"kind": "synthetic", "sites": 3, "cases": 48, "size": 64},
            "sites": {"split": "natural"},
            "preprocess": STEPS,
            "model": {"kind": "svm", "loss": "logistic", "C": 0.03, "tolerance": 0.001},
            "federation": {"rounds": 15, "quorum": 3, "timeout_s": 60, "select": "last", "evaluate_every": 15},
            "baselines": [],
            "personalise": {"mix": False},
            "privacy": "none",
            "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [1, 1, 704]},
        },
    )


def test_from_the_catalogue_to_a_picture_of_what_spoke_for_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_from_wheel.installed()
    assert encoder is not None
    file = tmp_path / "efficientnet-lite0.encoder"
    file.write_bytes(encoder.content)
    federation = Federation(tmp_path, configuration(tmp_path), SITES)
    for who in ("server", *SITES):
        federation.variables[who] = {encoder_library.VARIABLE: str(tmp_path / "libraries" / who)}
    with ended(federation):
        # The configuration names an encoder, which whoever reads it has: here the first hospital has it, and offers it.
        monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path / "libraries" / SITES[0]))
        for who in ("server", *SITES[1:]):
            federation.variables[who][encoder_library.VARIABLE] = str(tmp_path / "libraries" / SITES[0])
        encoder_library.add(encoder)
        federation.found()
        for who in ("server", *SITES[1:]):
            federation.variables[who][encoder_library.VARIABLE] = str(tmp_path / "libraries" / who)
        for site in SITES:
            settings = tmp_path / site / "site.yaml"
            rules = f"policy:\n  least: {{{', '.join(f'{name}: {n}' for name, n in LEAST.items())}}}\n"
            settings.write_text(settings.read_text(encoding="utf-8").replace("policy:\n", rules), encoding="utf-8")
        federation.start("server")
        federation.ready()
        federation.client(SITES[0], "catalogue", "offer", str(file), "--yes")
        assert "trained on  ImageNet" in federation.server("catalogue", "take", f"{SITES[0]}/efficientnet-lite0")
        name = federation.server("run", str(federation.config), "--no-follow").split()[1].rstrip(":")
        until(lambda: name in federation.client(SITES[1], "plans"))
        with pytest.raises(AssertionError, match=f"catalogue take {encoder.sha256[:16]}"):
            federation.approve(SITES[1], name)
        for site in SITES[1:]:
            federation.client(site, "catalogue", "take", encoder.sha256[:16])
        assert "licence Apache-2.0" in federation.client(SITES[2], "plans", name)
        for site in SITES:
            federation.approve(site, name)
        federation.start(*SITES)
        assert federation.wait(name, 300) == "finished", federation.logs()
        assert federation.result(name)["weights_sha256"] == simulated(federation.config)
        package = tmp_path / "seen.consilium"
        federation.server("export", name, "--out", str(package))
        assert "1 images answered" in federation.client(SITES[1], "predict", str(package), *_phantom(tmp_path))
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert pictures
    assert len(np.unique(np.asarray(Image.open(pictures[0]).convert("RGB")).reshape(-1, 3), axis=0)) > 100


def _phantom(folder: Path) -> list[str]:
    """The arguments of `predict` on one image that no site has."""
    from client.sources.radiographs import only, radiographs

    rng = np.random.default_rng(9)
    picture = np.exp(-radiographs(only(np.array([2])), 64, rng)[0])
    Image.fromarray(np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)).save(folder / "new.png")
    return [str(folder / "new.png"), "--out", str(folder / "pictures")]


def test_a_simulation_that_was_interrupted_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_from_wheel.installed()
    assert encoder is not None
    monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path / "library"))
    encoder_library.add(encoder)
    config, out = configuration(tmp_path), tmp_path / "out"
    whole = simulated(config)
    assert simulated(config) == whole
    words = [sys.executable, "simulate.py", str(config), "--out", str(out)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: (out / "log.txt").exists() and "'round': 5" in (out / "log.txt").read_text(encoding="utf-8"))
        process.kill()
    assert not (out / "result.json").exists()
    with redirect_stdout(io.StringIO()):
        assert simulate([*words[2:], "--resume"]) == 0
    (seed,) = read_json(out / "result.json")["seeds"]
    assert seed["weights_sha256"] == whole
