"""Hospitals in folders of their own, made as `client init`, `server admit` and `client join` make them, with images.

The images are children's chest radiographs where the real data are there, else drawn: 28×28 grey either way.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from client.home import Home as Hospital
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.setup import enrol
from client.sources.radiographs import only, radiographs
from common.plans.approvals import Approvals
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.trust.joining import Welcome
from server.consortium import membership
from server.consortium.home import ConsortiumSettings, Home
from tests.admitted import home_of
from tests.consortium.consortium import LEAST, Consortium, config_of, copy_of_one_made, keep_made

SIX = ("Hanoi", "Lima", "Lisbon", "Nairobi", "Osaka", "Quito")
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "pneumoniamnist.npz"
SIZE = 28
ALL = {"split": "natural", "validation": 0.0, "test": 0.0}
"""Nothing is held out beside what the file names so."""
CNN: dict[str, Any] = {
    "name": "small-cnn",
    "data": {"kind": "synthetic", "sites": 3, "cases": 24, "size": 16},  # of the configuration; no hospital has them
    "sites": {"split": "natural"},
    "model": {"kind": "cnn", "width": 8},
    "federation": {"rounds": 3},
    "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [SIZE, SIZE, 1]},
}
SVM = CNN | {
    "name": "small-svm",
    "preprocess": [{"step": "normalise", "by": "federated", "per": "pixel"}],
    "model": {"kind": "svm"},
    "federation": {"rounds": 30, "select": "last"},
}


def pictures(part: str, number: int, seed: int = 7) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8[n, SIZE, SIZE] and labels int64[n] of 0 and 1; `train` and `test` share none."""
    rng = np.random.default_rng([seed, part == "test"])
    if REAL.exists():
        with np.load(REAL) as file:
            images, labels = file[f"{part}_images"], file[f"{part}_labels"].reshape(-1).astype(np.int64)
        chosen = rng.permutation(len(images))[:number]
        return images[chosen], labels[chosen]
    labels = rng.integers(0, 2, number)
    stack = radiographs(only(labels * rng.integers(1, 4, number)), SIZE, rng)
    film = np.exp(-stack + rng.normal(0, 0.02, stack.shape))
    return np.round(255 * np.clip(film, 0, 1)).astype(np.uint8), labels


class Hospitals(Consortium):
    """A consortium of hospitals with images.

    Args:
        sizes: by hospital, how many training and validation cases it has.
        policy: what their site.yaml says under `policy`, beside the defaults.
        least: whether they take part with a handful of cases, as nobody's real site does.
    """

    def __init__(
        self, folder: Path, sizes: Mapping[str, tuple[int, int]], tree: dict[str, Any],
        policy: Mapping[str, Any] | None = None, *, least: bool = True,
    ) -> None:  # fmt: skip
        self.folder, self.home = folder, Home(folder / "consortium")
        self.policy = ({"least": LEAST} if least else {}) | dict(policy or {})
        self.config, self.tree = config_of(folder, tree), tree
        what = yaml.safe_dump([[*map(list, sizes.items())], tree, self.policy])
        if not copy_of_one_made(what, folder):
            membership.begin(self.home, ConsortiumSettings(consortium="pilot", address="127.0.0.1:8443"))
            self._images, self._labels = pictures("train", sum(map(sum, sizes.values())))
            for name, size in sizes.items():
                self._hospital(name, *size)
            keep_made(what, folder)
        self.sites = {name: home_of(folder / name) for name in sizes}

    def hospital(self, name: str, train: int = 30, validation: int = 10) -> Hospital:
        """One that comes later."""
        self._images, self._labels = pictures("test", train + validation, seed=len(self.sites))
        self.sites[name] = self._hospital(name, train, validation)
        return self.sites[name]

    def _hospital(self, name: str, train: int, validation: int) -> Hospital:
        """A new one with the next images, admitted and joined."""
        site = home_of(self.folder / name)
        site.folder.mkdir(parents=True)
        write_images(site.folder / "images.npz", self._next(train), self._next(validation))
        data = {"kind": "npz", "path": "images.npz", "labels": ["clear", "disease"]}
        about = {"site": name, "datasets": {"chest": {"data": data, "sites": ALL}}, "policy": self.policy}
        (site.folder / "site.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
        membership.admit(self.home, enrol.begin(site, name, ""), self.roots)
        enrol.join(site, Welcome.read(self.home.welcome(name).read_bytes()))
        return site

    def _next(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        taken = self._images[:number], self._labels[:number]
        self._images, self._labels = self._images[number:], self._labels[number:]
        return taken

    def approved(self, *overrides: str, by: Iterable[str] = ()) -> Approvals:
        """Of a plan of the tree, signed by the consortium and approved by all hospitals, or by those named."""
        plan = self.plan(*overrides, tree=self.tree)
        return self.approve(plan, by)

    def approve(self, plan: RunPlan, by: Iterable[str] = ()) -> Approvals:
        """The approvals of all hospitals of a plan, or of those named."""
        return Approvals(
            plan, {name: decide(self.sites[name], plan, "approve", "") for name in by or plan.content.cohort}
        )

    def plan_of(self, decision: Decision) -> RunPlan:
        """What was decided on."""
        return PlanInbox(self.sites[decision.site]).plan(decision.plan)

    def identity(self, name: str) -> Ed25519PrivateKey:
        """A hospital's key: for one that has gone over to the coordinator."""
        return self.sites[name].identity


def write_images(
    path: Path,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> None:
    """A hospital's file, in MedMNIST's layout: each case of another patient, and none in two parts."""
    images, labels = pictures("test", 100, seed=1)
    both = [int(np.flatnonzero(labels == label)[0]) for label in (0, 1)]  # a file of one class alone is refused
    parts = {"train": train, "val": validation, "test": (images[both], labels[both])}
    arrays = {f"{part}_{what}": value for part, held in parts.items() if len(held[1])
              for what, value in (("images", held[0]), ("labels", held[1][:, None]))}  # fmt: skip
    np.savez(path, **arrays)
