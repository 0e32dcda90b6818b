"""A hospital's page, in front of a real coordinator's gateway over TLS."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from client.__main__ import COMMANDS
from client.access import people
from client.access.people import PersonKey
from client.home import Home
from client.page.hospital_app import hospital_server
from client.page.site_commands import SiteCommands
from common.plans.plan import RunPlan
from server.gateway.site_api import FolderSiteApi
from server.runs.run import Run
from tests.attacks.hospitals import SIX, SVM, Hospitals
from tests.consortium.consortium import config_of
from tests.dashboard.served import ServedPage
from tests.gateway.running_gateway import Serving
from tests.superlink.superlink import free_port

HERE, COHORT = SIX[0], SIX[:4]


class HospitalPage(ServedPage):
    """The page of one person."""

    def __init__(self, home: Home, key: PersonKey | None = None) -> None:
        self.home = home
        person = SiteCommands(home.folder, key or people.open_key(home.folder / "me.key"), COMMANDS)
        super().__init__(lambda port, say: hospital_server(person, port, say))


class Consulted(Hospitals):
    """Four hospitals, of which one has a page, and the coordinator's gateway, which all of them reach."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, dict.fromkeys(COHORT, (30, 10)), SVM)
        port, settings = free_port(), self.home.folder / "consortium.yaml"
        tree = yaml.safe_load(settings.read_text(encoding="utf-8"))
        tree |= {"listen": "127.0.0.1", "port": port, "superlink_port": free_port()}
        settings.write_text(yaml.safe_dump(tree), encoding="utf-8")
        for site in self.sites.values():
            (site.folder / "address").write_text(f"127.0.0.1:{port}", encoding="utf-8")

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """The coordinator's gateway is there."""
        serving = Serving(self.home, FolderSiteApi(self.home))
        serving.start()
        try:
            yield
        finally:
            serving.stop()

    @property
    def here(self) -> Home:
        """The hospital with the page."""
        return self.sites[HERE]

    def ask(self, name: str, *overrides: str) -> tuple[RunPlan, Run]:
        """The coordinator asks for something; no hospital has heard of it yet."""
        config = config_of(self.folder, SVM, f"name={name}", *overrides)
        plan = RunPlan.from_config(config, self.home.roster, self.roots, None)
        return plan, Run.begin(self.home, plan, 3600.0, {})

    def begin_without(self, run: Run) -> None:
        """The run begins, and this hospital has not decided."""
        run.write_state(replace(run.state, stage="running", cohort=COHORT[1:]))
