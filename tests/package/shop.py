"""Two small runs on synthetic images, one a model, and the packages that come of them."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

import simulate
from client import dataset
from client.dataset import Dataset
from common import config as configuration
from common.config import Config
from common.package import Shared, reading
from server.card import Terms
from server.export import Publisher, export

ROOT = Path(__file__).parents[2]
SMALL = ["data.sites=3", "data.cases=100", "data.size=32", "federation.rounds=4", "baselines=[]", "cross_site=false",
         "personalise.mix=false"]  # fmt: skip
KEY = Ed25519PrivateKey.from_private_bytes(b"publisher of the tests, 32 bytes")
CONFIGS = {"svm": ["configs/demo-svm.yaml", "federation.rounds=30"], "cnn": ["configs/demo.yaml"]}


@dataclass(frozen=True)
class Made:
    """A run, its package, and what it was trained on."""

    config: Config
    run: Path
    path: Path
    shared: Shared
    data: Dataset

    @property
    def file(self) -> bytes:
        return self.path.read_bytes()


def make(kind: str, folder: Path) -> Made:
    told = configuration.load(ROOT / CONFIGS[kind][0], [*SMALL, *CONFIGS[kind][1:]])
    simulate.simulate(told, run := folder / "run", Console(quiet=True))
    terms = Terms("research", "CC0-1.0", {"Lisbon": "Portugal"})
    path = folder / f"{kind}.consilium"
    path.write_bytes(export(run, Publisher("tests", [KEY]), terms, onnx=True))
    return Made(told, run, path, reading.read(path), dataset.load(told, 1))
