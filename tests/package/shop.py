"""Two small runs on synthetic images, one a model, and the packages that come of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from client.dataset import loading
from client.dataset.loading import PreparedData
from common import config as configuration
from common.config import Config
from common.errors import PackageError
from common.package import ModelPackage, load_verified_package, package_file, zip_archive
from common.trust.keys import public_of
from server.export.model_card import CardTerms
from server.export.package import SigningPublisher, export
from simulation.seeds import simulate
from tests.tally import TRIED

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
    shared: ModelPackage
    data: PreparedData

    @property
    def file(self) -> bytes:
        return self.path.read_bytes()


def make(kind: str, folder: Path) -> Made:
    told = configuration.load(ROOT / CONFIGS[kind][0], [*SMALL, *CONFIGS[kind][1:]])
    simulate(told, run := folder / "run", Console(quiet=True))
    terms = CardTerms("research", "CC0-1.0", {"Lisbon": "Portugal"})
    path = folder / f"{kind}.consilium"
    path.write_bytes(export(run, SigningPublisher("tests", [KEY]), terms, onnx=True))
    return Made(told, run, path, package_file.read_package(path), loading.load(told, 1))


def packed(members: Mapping[str, bytes]) -> bytes:
    """The file of a package with these members, whatever they hold."""
    return b"".join(zip_archive.pack(members))


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Another value somewhere in the content."""

    def change(content: dict[str, Any]) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def taken(made: Made, ways: Mapping[str, Callable[[Made], bytes]]) -> list[str]:
    """Of these ways to tamper with a package, those that nobody notices."""
    found = []
    for way, tamper in ways.items():
        file = tamper(made)
        assert file != made.file, way
        try:
            load_verified_package(file, "p", [public_of(KEY)])
            found.append(way)
        except PackageError:
            pass
    TRIED["packages tampered with"] += len(ways)
    TRIED["packages tampered with, refused"] += len(ways) - len(found)
    return found
