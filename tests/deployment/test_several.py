"""Three runs at once on four sites, one of them stuck: how much longer the rounds of the others take than alone."""

import csv
import os
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.deployment.whole import SVM, Quick, ended, until, written

pytestmark = pytest.mark.slow

SITES = ("Hanoi", "Lisbon", "Nairobi", "Osaka")
HERE = SITES[:3]
DATASETS = ("chest", "alone", "hands", "feet")
MOST = 1.3 if (os.cpu_count() or 1) >= 8 else 2.2
"""Times as long as alone. A round alone fills two cores, all of its processes being here: two share what one has."""


def draw(folder: Path, seed: int) -> Path:
    """Small images of four hospitals, the ill ones with a bright spot; the list of them."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "site", "patient"])
        for number in range(160):
            picture = rng.integers(0, 80, (16, 16))
            picture[4:8, 4:8] += 20 * (number % 2)
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{number}.png")
            rows.writerow([f"{number}.png", ("clear", "disease")[number % 2], SITES[number // 2 % 4], f"p{number}"])
    return folder / "list.csv"


class Several(Quick):
    """Sites with a data set for each run: runs on the same images wait for each other, whatever the scheduler says."""

    def found(self) -> None:
        super().found()
        for site in self.sites:
            path = self.folder / site / "site.yaml"
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            first = settings["datasets"]["chest"]
            for seed, name in enumerate(DATASETS[1:], 2):
                images = self.folder / name
                data = first["data"] | {"path": str(images / "list.csv" if images.exists() else draw(images, seed))}
                settings["datasets"][name] = first | {"data": data}
            path.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def ask(self, dataset: str, cohort: tuple[str, ...]) -> str:
        return self.submit(f"name={dataset}", f"plan.dataset={dataset}", f"plan.cohort=[{', '.join(cohort)}]")

    def round_s(self, run: str) -> float:
        """Seconds of a round: the median, from the end of one to the end of the next."""
        ends = [record["at_s"] for record in self.rounds(run)]
        return median(after - before for before, after in pairwise(ends))


def test_three_runs_at_once_one_of_them_stuck(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    is_quiet = os.getloadavg()[0] < 1.0
    data = {"kind": "manifest", "path": str(draw(tmp_path / "chest", 1)), "labels": ["clear", "disease"]}
    config = written(tmp_path / "config.yaml", data=data, model=SVM["model"] | {"C": 1.0})
    federation = Several(tmp_path, config, SITES)
    with ended(federation):
        federation.found()
        federation.start()
        federation.ready()
        stuck = federation.ask("chest", SITES)
        until(lambda: len(federation.rounds(stuck)) >= 2)
        federation.kill("Osaka")
        until(lambda: "Osaka is gone for good" in " ".join(federation.server("status").split()))
        done = len(federation.rounds(stuck))
        alone = federation.ask("alone", HERE)
        assert federation.wait(alone, 300) == "finished", federation.state(alone)
        others = [federation.ask(name, HERE) for name in ("hands", "feet")]
        for run in others:
            assert federation.wait(run, 300) == "finished", federation.state(run)
        states = [federation.state(run) for run in others]
        assert max(one["started_s"] for one in states) < min(one["ended_s"] for one in states), "not at once"
        seconds = {run: federation.round_s(run) for run in (alone, *others)}
        with capsys.disabled():
            print({run: (len(federation.rounds(run)), round(value, 3)) for run, value in seconds.items()})
        if is_quiet:  # on a machine that others keep busy, what a round waits for is the machine
            assert all(seconds[run] <= MOST * seconds[alone] for run in others), seconds
        assert (federation.state(stuck)["stage"], len(federation.rounds(stuck))) == ("running", done)
        federation.start("Osaka")
        assert federation.wait(stuck, 300) == "finished", federation.state(stuck)
