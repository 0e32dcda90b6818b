"""The life of a consortium in six runs, with the commands and processes that its people use.

    python benchmarks/life.py [--screen FILE]

Four hospitals, real small images (PneumoniaMNIST) as files, one process each; what the coordinator saw on the screen is
printed, and written to FILE.

    1  CNN   Osaka is ill in the first round
    2  SVM   all four
    3  CNN   Quito has left
    4  SVM   Hanoi has joined
    5  SVM   images were added at Lisbon and Nairobi
    6  CNN   Nairobi was restored from its backup

and beside the fifth and the sixth, the same training with nothing carried, simulated on the same sites' images.

Caveats: one machine; ten minutes after the restoration, until plans are answered again, are not waited for; few rounds,
small networks: the figures show that runs end in models of like worth, not more.
"""

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from simulate import main as simulate  # noqa: E402
from tests.deployment.federation import Federation, free_port  # noqa: E402
from tests.deployment.whole import MAINS, InOneProcess, ended, until  # noqa: E402

IMAGES = next(
    (p for p in (ROOT / "../shared/data", ROOT / "../../shared/data", ROOT / "../data") if p.exists()), ROOT
) / "pneumoniamnist.npz"  # fmt: skip
FOUNDERS, NEWCOMER = ("Lisbon", "Nairobi", "Osaka", "Quito"), "Hanoi"
CASES, ADDED = 620, 30
CONFIG: dict[str, Any] = {
    "name": "life",
    "data": {"kind": "manifest", "path": "images/list.csv", "labels": ["normal", "pneumonia"]},
    "sites": {"split": "natural", "test": 0.1},
    "privacy": "none",
    "plan": {"dataset": "chest", "labels": ["normal", "pneumonia"], "shape": [28, 28, 1]},
    "preprocess": [{"step": "normalise", "by": "federated"}],
    "model": {"kind": "cnn", "architecture": "plain", "width": 8},
    "federation": {"rounds": 4, "quorum": 3, "timeout_s": 12, "local": {"epochs": 1, "batch": 32}},
    "baselines": [],
    "personalise": {"mix": False},
    "likeness": True,
}
SVM = ("model={kind: svm, solver: gram-lbfgs, C: 0.01}",
       "federation={rounds: 25, quorum: 3, timeout_s: 20, select: last, evaluate_every: 25}")  # fmt: skip


class Life(InOneProcess, Federation):
    """A consortium whose coordinator's screen is kept."""

    def __init__(self, folder: Path, screen: Path) -> None:
        super().__init__(folder, folder / "life.yaml", FOUNDERS, port=free_port())
        self.screen = screen
        self.rng = np.random.default_rng(7)

    def show(self, text: str) -> None:
        """On the screen, and in its file."""
        print(text, flush=True)
        with self.screen.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def type(self, who: str, *arguments: str) -> str:
        """A command as its people type it, whatever its exit status; shown with what it says."""
        kind, home = ("server", self.home) if who == "server" else ("client", self.folder / who)
        with redirect_stdout(StringIO()) as out, redirect_stderr(out):
            status = MAINS[kind]([*arguments, "--home", str(home)])
        prompt = "coordinator$" if who == "server" else f"{who}$"
        typed = " ".join(f"'{a}'" if " " in a else a for a in arguments).replace(str(self.folder) + "/", "")
        said = out.getvalue().rstrip().replace(str(self.folder) + "/", "")
        self.show(f"{prompt} python -m {kind} {typed}\n{said}{f'{chr(10)}[exit status {status}]' if status else ''}")
        return out.getvalue()

    def draw(self) -> None:
        """Files of five hospitals, a line each in one list."""
        arrays = np.load(IMAGES)
        self.stack = np.concatenate([arrays["train_images"], arrays["val_images"]])
        self.labels = np.concatenate([arrays["train_labels"], arrays["val_labels"]]).ravel()
        self.left = list(self.rng.permutation(len(self.stack)))
        (self.folder / "images").mkdir()
        with (self.folder / "images" / "list.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(["path", "label", "site", "patient"])
        for site in (*FOUNDERS, NEWCOMER):
            self.add(site, CASES)
        self.config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")

    def add(self, site: str, cases: int) -> None:
        """More images at a hospital."""
        with (self.folder / "images" / "list.csv").open("a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            for index in (self.left.pop() for _ in range(cases)):
                Image.fromarray(self.stack[index]).save(self.folder / "images" / f"{index:05}.png")
                rows.writerow([f"{index:05}.png", ("normal", "pneumonia")[self.labels[index]], site, f"p{index}"])

    def joined(self, site: str, *options: str) -> None:
        """From a request to a pinned welcome."""
        request, shown = str(self.folder / site / f"{site}.request"), self.client(site, "fingerprint", "--plain")
        self.server("admit", request, "--fingerprint", shown.strip(), *options)
        welcome, shown = str(self.home / "welcomes" / f"{site}.welcome"), self.server("fingerprint", "--plain")
        self.client(site, "join", welcome, "--fingerprint", shown.strip())

    def drawn_up(self, *arguments: str) -> str:
        """Sign a plan; the run's name, or nothing where it is refused."""
        said = self.type("server", "run", str(self.config), *arguments, "--no-follow")
        line = next((line for line in said.splitlines() if line.startswith("Run ") and ": asking" in line), "")
        return line.split()[1].rstrip(":") if line else ""

    def carried_out(self, run: str, sites: Sequence[str]) -> dict[str, Any]:
        """Approve at all sites, follow to the end; the result."""
        for site in sites:
            self.type(site, "approve", run)
        with self.followed(run):
            until(lambda: self.state(run)["stage"] == "running", 120)
            self.type("server", "status")
            self.wait(run, 900)
        assert self.state(run)["stage"] == "finished", self.state(run)
        return self.result(run)

    @contextmanager
    def followed(self, run: str) -> Iterator[None]:
        """`server follow`, on the screen once it has ended."""
        env = self._env("server") | {"COLUMNS": "150"}
        follower = subprocess.Popen(
            [sys.executable, "-m", "server", "follow", run, "--home", str(self.home)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env=env,
        )  # fmt: skip
        try:
            yield
            said, _ = follower.communicate(timeout=60)
            seen = said.rstrip().replace(str(self.folder) + "/", "")
            self.show(f"coordinator$ python -m server follow {run}\n{seen}")
        finally:
            follower.kill()

    def simulated(self, sites: Sequence[str], *overrides: str) -> float:
        """The validation AUC of the same training from the beginning, in one process."""
        header, *rows = (self.folder / "images" / "list.csv").read_text(encoding="utf-8").splitlines()
        own = [row for row in rows if row.split(",")[2] in sites]
        (self.folder / "images" / "some.csv").write_text("\n".join([header, *own, ""]), encoding="utf-8")
        out, labels = self.folder / "simulated", "labels: [normal, pneumonia]"
        data = f"data={{kind: manifest, path: {self.folder}/images/some.csv, {labels}}}"
        with redirect_stdout(StringIO()):
            assert simulate([str(self.config), data, *overrides, "--out", str(out)]) == 0
        shown: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
        shutil.rmtree(out)
        (seed,) = shown["seeds"]
        best = next(r for r in shown["rounds"] if r["round"] == seed["best_round"])
        return float(best["validation"]["auc"])

    def ill(self, site: str, run: str) -> None:
        """Stop a site's process until the first round is over."""
        process = self.processes[site]

        def stop() -> None:
            until(lambda: (self.home / "runs" / run / "begun.json").exists(), 300)
            process.send_signal(signal.SIGSTOP)
            until(lambda: self.rounds(run), 300)
            process.send_signal(signal.SIGCONT)

        threading.Thread(target=stop, daemon=True).start()


def lived(life: Life) -> list[dict[str, Any]]:
    """The six runs, and what two of them come to with nothing carried; a line for each."""
    lines: list[dict[str, Any]] = []

    def note(what: str, run: str, sites: Sequence[str], began: float) -> None:
        result = life.result(run)
        rounds, auc = life.rounds(run), result["validation"].get("auc")
        line = {"run": what, "sites": len(sites), "rounds": len(rounds), "void": sum(r["void"] for r in rounds)}
        line |= {"auc": None if auc is None else round(auc, 3), "seconds": round(time.monotonic() - began)}
        lines.append(line)

    def run(what: str, sites: Sequence[str], *arguments: str, ill: str = "") -> str:
        life.show(f"\n=== {what}")
        began, name = time.monotonic(), life.drawn_up(*arguments)
        assert name, what
        if ill:
            life.ill(ill, name)
        life.carried_out(name, sites)
        note(what, name, sites, began)
        return name

    run("1 CNN, Osaka is ill in the first round", FOUNDERS, ill="Osaka")
    run("2 SVM, all four", FOUNDERS, *SVM)
    life.show("\n=== Quito leaves")
    life.type("server", "revoke", "Quito")
    three = FOUNDERS[:3]
    run("3 CNN, Quito has left", three)
    life.show("\n=== Hanoi joins")
    life.client(NEWCOMER, "init", NEWCOMER, "--rehearse", str(life.config))
    life.joined(NEWCOMER)
    life.start(NEWCOMER)
    four = (*three, NEWCOMER)
    run("4 SVM, Hanoi has joined", four, *SVM)
    life.type("Nairobi", "custody", "begin", str(life.folder / "nairobi.recovery"))
    life.type("Nairobi", "backup", str(life.folder / "safe"))
    life.show("\n=== Images are added at Lisbon and Nairobi; asked anew, the site says no before it signs")
    for site in ("Lisbon", "Nairobi"):
        life.add(site, ADDED)
    anew = life.drawn_up(*SVM, "--ask-anew")
    life.type("Lisbon", "approve", anew)
    life.type("server", "stop", anew)
    run("5 SVM, images added at Lisbon and Nairobi", four, *SVM)
    life.show("\n=== Nairobi is restored from its backup")
    restored(life)
    sixth = run("6 CNN, Nairobi was restored", four)
    for what, arguments in (("5 SVM", SVM), ("6 CNN", ())):
        lines.append({"run": f"{what}, nothing carried, simulated", "auc": round(life.simulated(four, *arguments), 3)})
    life.show("\n=== Evaluated by others than trained it: said before it is signed")
    life.type("server", "evaluate", sixth, "--cohort", ",".join(three), "--no-follow")
    life.type("server", "history")
    return lines


def restored(life: Life) -> None:
    """Nairobi's machine is lost; its folder comes back, with new keys, which the others accept by telephone."""
    process = life.processes["Nairobi"]
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    (life.folder / "Nairobi").rename(life.folder / "Nairobi.lost")
    life.type("Nairobi", "restore", str(life.folder / "safe"), "--from", str(life.folder / "Nairobi.lost"))
    life.joined("Nairobi", "--new-keys")
    for site in ("Lisbon", "Osaka", NEWCOMER):
        digits = re.search(r"another key \(([\d ]+)\)", life.type(site, "plans"))
        assert digits
        life.type(site, "accept-key", "Nairobi", "--fingerprint", digits[1])
        life.type(site, "plans")  # the roster is taken
    life.start("Nairobi")
    life.show("(made at once, a plan is refused there)")
    early = life.drawn_up()
    life.type("Nairobi", "approve", early)
    life.type("server", "stop", early)
    life.show("(ten minutes later)")
    note = life.folder / "Nairobi" / "restored"
    note.write_text(f"{float(note.read_text()) - 600}\n", encoding="utf-8")


def main() -> None:
    """Print the screen, and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screen", type=Path, metavar="FILE", help="where to write the screen as well")
    options = parser.parse_args()
    os.environ["COLUMNS"] = "150"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        life = Life(folder, options.screen or folder / "screen.txt")
        life.draw()
        with ended(life):
            life.found()
            life.start()
            life.ready()
            try:
                lines = lived(life)
            except BaseException:
                print(life.logs())
                raise
    for line in lines:
        life.show(json.dumps(line)) if options.screen else print(json.dumps(line))


if __name__ == "__main__":
    main()
