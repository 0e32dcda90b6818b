"""A consortium lives: hospitals leave, join, are ill. What its next runs come to, and what the coordinator is told."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client import app as site_edge
from client.plans.inbox import PlanInbox
from common.messages.transport import Misfortunes
from common.plans.plan import RunPlan
from common.storage import tensorfile
from common.types import under
from server.consortium import membership
from server.runs import driver, run_display
from server.runs.carrying import foresee
from server.runs.run import Run
from server.superlink.flower_transport import FlowerTransport
from tests.attacks.hospitals import CNN, SIX, SVM, Hospitals
from tests.consortium.consortium import config_of
from tests.superlink.grid import grid_of

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR = SIX[:4]
SHORT: dict[str, Any] = {
    "svm": SVM | {"federation": {"rounds": 3, "select": "last"}},
    "cnn": CNN | {"federation": {"rounds": 2}},
}


@dataclass(frozen=True)
class Ill(Misfortunes):
    """One hospital that does not answer in the first round."""

    site: str = ""

    def away(self, site: str, round: int) -> bool:
        return site == self.site and round == 0


@pytest.fixture(autouse=True)
def void_rounds_are_not_mended_by_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)


def conducted(hospitals: Hospitals, name: str, cohort: Sequence[str], ill: str = "") -> tuple[Run, str]:
    """A run of these hospitals through Flower's own grid, and what the coordinator's screen said."""
    plan = carrying(hospitals, name, cohort)
    run = hospitals.begun(plan, *cohort)
    homes = {i: {"home": str(hospitals.sites[name].folder)} for i, name in enumerate(cohort)}
    with grid_of(dict.fromkeys(homes, site_edge.app), homes) as grid:
        nodes = dict(zip(cohort, sorted(grid.get_node_ids()), strict=True))
        transport = FlowerTransport(grid, nodes, plan.digest, on_progress=run.write_progress, misfortunes=Ill(site=ill))
        driver.carry_out(run, transport)
    screen = io.StringIO()
    run_display.follow(run, Console(file=screen, width=200))
    return run, screen.getvalue()


def carrying(hospitals: Hospitals, name: str, cohort: Sequence[str]) -> RunPlan:
    """A plan over these hospitals, as `server run` draws it up: it carries what an earlier run has summed."""
    terms = f"name={name}", f"plan.cohort=[{', '.join(cohort)}]"
    config = config_of(hospitals.folder, hospitals.tree, *terms)
    ahead = foresee(hospitals.home, config)
    plan = RunPlan.from_config(config, hospitals.roster(), hospitals.roots, ahead.source)
    for site in hospitals.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
    return plan


def looks(run: Run) -> float:
    """Over how many images a model knows how they looked."""
    arrays, _ = tensorfile.load(run.folder / "model.safetensors")
    return float(under("likeness", arrays)["n"][0])


@pytest.mark.parametrize("kind", ["svm", pytest.param("cnn", marks=pytest.mark.slow)])
def test_hospitals_leave_and_join(tmp_path: Path, kind: str, show: Callable[[str], None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SHORT[kind])
    runs = {"four": conducted(hospitals, "four", FOUR)}
    membership.revoke(hospitals.home, FOUR[3], hospitals.roots)
    del hospitals.sites[FOUR[3]]
    runs["three-of-them"] = conducted(hospitals, "three-of-them", FOUR[:3])
    hospitals.hospital("Osaka")
    runs["three-and-a-fifth"] = conducted(hospitals, "three-and-a-fifth", (*FOUR[:3], "Osaka"))
    told(show, f"changed cohort, {kind}", runs)


@pytest.mark.parametrize("kind", ["svm", pytest.param("cnn", marks=pytest.mark.slow)])
def test_a_hospital_was_ill_in_the_first_round(tmp_path: Path, kind: str, show: Callable[[str], None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SHORT[kind])
    runs = {"one-ill": conducted(hospitals, "one-ill", FOUR, ill=FOUR[2])}
    runs["all-well"] = conducted(hospitals, "all-well", FOUR)
    told(show, f"changed cohort, {kind}", runs, ill=FOUR[2])


def told(show: Callable[[str], None], what: str, runs: dict[str, tuple[Run, str]], ill: str = "") -> None:
    for name, (run, screen) in runs.items():
        known = f", looks of {looks(run):.0f} images" if run.state.stage == "finished" else ""
        show(f"{what}: run '{name}' {run.state.stage}{known}")
        for line in screen.splitlines():
            if "processes are not running" not in line and "Written to" not in line:
                show(f"      {line}")
    for name, (run, screen) in runs.items():
        if "refused" in screen:
            assert "repeated-question" in screen, f"{name}: it does not say why"
        assert run.state.stage == "finished", f"{name}: {run.state.why}"
        assert looks(run) > 0, f"{name}: how the images look was lost without a word"
        called = [line for line in screen.lower().splitlines() if "silent" in line]
        assert all(ill and ill.lower() in line for line in called), f"{name}: hospitals that refused are called silent"
