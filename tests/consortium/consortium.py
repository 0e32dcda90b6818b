"""A consortium in real folders, made as its people make it, without processes: coordinator, hospitals, signed plans."""

import shutil
from collections.abc import Hashable
from copy import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml

from client.home import Home as Hospital
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.setup import enrol
from client.sources.synthetic import CITIES
from common import config as configuration
from common.config import Config
from common.plans.decision import Decision
from common.plans.plan import Carried, RunPlan
from common.trust.joining import Welcome
from common.trust.roster import Roster
from server.consortium import membership
from server.consortium.home import ConsortiumSettings, Home
from server.gateway.site_api import FolderSiteApi
from server.runs.carrying import arrays_of
from server.runs.run import Run
from tests.admitted import home_of

NAMES = ("Lisbon", "Nairobi", "Osaka")
LEAST = dict.fromkeys(("training", "validation", "of_each_class", "statistics", "likeness", "active"), 1)
"""Sites of a handful of drawn cases take part, as nobody's real site does."""
SVM: dict[str, Any] = {
    "name": "small-svm",
    "data": {"kind": "synthetic", "sites": 3, "cases": 24, "size": 16},
    "sites": {"split": "natural"},
    "preprocess": [{"step": "normalise", "by": "federated", "per": "pixel"}],
    "model": {"kind": "svm"},
    "baselines": [],
    "personalise": {"mix": False},
    "federation": {"rounds": 4, "select": "last"},
    "privacy": "none",
    "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [16, 16, 1]},
}


_MADE: dict[Hashable, TemporaryDirectory[str]] = {}


def keep_made(what: Hashable, folder: Path) -> None:
    """Keep a consortium's folders, as long as this process runs: keys and signatures are slow to make."""
    _MADE[what] = TemporaryDirectory()
    shutil.copytree(folder, _MADE[what].name, dirs_exist_ok=True)


def copy_of_one_made(what: Hashable, folder: Path) -> bool:
    """Copy the folders that were kept; false if there are none."""
    if what in _MADE:
        mode = folder.stat().st_mode  # which the copy would change to that of a temporary folder
        shutil.copytree(_MADE[what].name, folder, dirs_exist_ok=True)
        folder.chmod(mode)
    return what in _MADE


def lower_floors(folder: Path) -> None:
    """A site's rules let it take part with a handful of cases, of which some are alone inside the margin; one with a
    name of its own has the images of one of the cities for which some are drawn."""
    settings = folder / "site.yaml"
    told = yaml.safe_load(settings.read_text(encoding="utf-8"))
    told["policy"] = (told.get("policy") or {}) | {"least": LEAST}
    for dataset in (told.get("datasets") or {}).values():
        if dataset.get("take") not in (None, *CITIES):
            dataset["take"] = CITIES[2]
    settings.write_text(yaml.safe_dump(told), encoding="utf-8")


def config_of(folder: Path, tree: dict[str, Any] = SVM, *overrides: str) -> Config:
    """A configuration, by way of a file as everybody writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return configuration.load(folder / "config.yaml", overrides)


class Consortium:
    """The coordinator's folder, and one a hospital below the same folder.

    Args:
        stranger: whether it has other keys than those that are no strangers: they are copies of one that was made once.
    """

    def __init__(
        self, folder: Path, names: tuple[str, ...] = NAMES, name: str = "pilot", tree: dict[str, Any] = SVM,
        *, stranger: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.home = folder, Home(folder / "consortium")
        self.config = config_of(folder, tree)
        if not copy_of_one_made((names, name, yaml.safe_dump(tree), stranger), folder):
            membership.begin(self.home, ConsortiumSettings(consortium=name, address="127.0.0.1:8443"))
            self.sites = {site: self.hospital(site) for site in names}
            keep_made((names, name, yaml.safe_dump(tree), stranger), folder)
        self.sites = {site: home_of(folder / site) for site in names}

    def at(self, folder: Path) -> Self:
        """The same, in a copy of its folders."""
        other = copy(self)
        other.folder, other.home = folder, Home(folder / "consortium")
        other.sites = {name: home_of(folder / name) for name in self.sites}
        return other

    @property
    def roots(self) -> Any:
        """What signs."""
        return self.home.root_keys()

    def hospital(self, name: str) -> Hospital:
        """A new one, admitted and joined."""
        site = home_of(self.folder / name)
        request = enrol.begin(site, name, "", self.config)
        membership.admit(self.home, request, self.roots)
        enrol.join(site, Welcome.read(self.home.welcome(name).read_bytes()))
        lower_floors(site.folder)
        return site

    def roster(self) -> Roster:
        """As it is now, at every hospital too."""
        for site in self.sites.values():
            site.take_roster(self.home.consortium.roster, self.home.rekeys())
        return self.home.roster

    def plan(self, *overrides: str, tree: dict[str, Any] = SVM, carried: Carried | None = None) -> RunPlan:
        """A signed plan that every hospital has taken."""
        plan = RunPlan.from_config(config_of(self.folder, tree, *overrides), self.roster(), self.roots, carried)
        for site in self.sites.values():
            PlanInbox(site).take_plan(plan.document.encode())
        return plan

    def begun(self, plan: RunPlan, *approving: str) -> Run:
        """A run whose decisions have come in, as the keeper hands it to a ServerApp."""
        run = Run.begin(self.home, plan, 0.0, arrays_of(self.home, plan))
        for name in approving or tuple(self.sites):
            decide(self.sites[name], plan, "approve", "")
            self.bring(name, plan)
        approved = {name: decision for name, decision in run.decisions().items() if decision.verdict == "approve"}
        run.write_state(replace(run.state, stage="running", cohort=run.begin_with(approved).sites))
        return run

    def bring(self, name: str, plan: RunPlan) -> None:
        """A hospital's decision, brought to the coordinator."""
        decision = PlanInbox(self.sites[name]).decision(plan)
        assert isinstance(decision, Decision)
        FolderSiteApi(self.home).take_decision(name, decision.document.to_json())
