"""What becomes of a federation when anything in it is killed, hangs, fills up or loses its line.

    python benchmarks/faults.py [--injections 60] [--seed 1] [--only NAME]

Caveats first. One machine, four sites, a tiny network, phantoms: the rounds are short, so that many faults fit in. Each
fault is injected at a random moment of a running federation, healed after a while, and timed until a second round is
completed. A disk is made full by filling a small file system (needs the right to mount one; else these rows are left
out, and said so). A wrong clock is one that the site's process reads; the machine's stays right.

At the end every finished run is computed again in one process (`replay.py`), from its plan and from who was in each of
its sums: the weights must be the same bits. `simulate.py` itself has other faults, so it is compared with a last run,
which has none.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.replay import weights_of  # noqa: E402
from server.consortium.home import Home  # noqa: E402
from server.runs.run import Run  # noqa: E402
from tests.admitted import home_of  # noqa: E402
from tests.deployment.federation import Federation, free_port  # noqa: E402
from tests.deployment.whole import simulated  # noqa: E402

SITES = ("Lisbon", "Nairobi", "Osaka", "Quito")
CONFIG = """
name: faults
data: {kind: synthetic, sites: 4, cases: 420, size: 16}
sites: {split: natural, test: 0.1}
privacy: none
plan: {dataset: phantoms, labels: [clear, disease], shape: [16, 16, 1]}
model: {kind: cnn, architecture: plain, width: 4}
federation: {rounds: 40, quorum: 3, timeout_s: 12, local: {steps: 4, batch: 8}}
baselines: []
personalise: {mix: false}
"""
RECOVERY_S = 150.0


class Line:
    """A line between one site and the gateway that can be cut."""

    def __init__(self, target: int) -> None:
        self.target, self.whole, self.ends = target, True, set[socket.socket]()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self.listener.accept()
            if not self.whole:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self.ends |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self.ends.discard(end)

    def cut(self) -> None:
        self.whole = False
        for end in list(self.ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        self.whole = True


class Odd(Federation):
    """Sites behind lines that can be cut, with clocks that can be wrong."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lines: dict[str, Line] = {}
        self.clocks: dict[str, float] = {}

    def found(self) -> None:
        super().found()
        for site in self.sites:
            self.lines[site] = Line(self.port)
            (self.folder / site / "address").write_text(f"127.0.0.1:{self.lines[site].port}\n", encoding="utf-8")

    def start(self, *names: str) -> None:
        for name in names or ("server", *self.sites):
            if name == "server":
                super().start(name)
                continue
            odd = self.folder / f"{name}.odd"
            odd.mkdir(exist_ok=True)
            env = self._env(name) | {"ODD_FOLDER": str(odd), "ODD_CLOCK_S": str(self.clocks.get(name, 0.0))}
            with (self.folder / f"{name}.out").open("ab") as out:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, str(ROOT / "benchmarks" / "odd_client.py"), "run", "--home",
                     str(self.folder / name)],
                    cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True,
                )  # fmt: skip

    def child(self, mark: str) -> psutil.Process | None:
        """One of the coordinator's processes, by what its command line says."""
        with suppress(psutil.Error):
            for process in psutil.Process(self.processes["server"].pid).children(recursive=True):
                with suppress(psutil.Error):
                    if mark in " ".join(process.cmdline()):
                        return process
        return None


# --- the faults -----------------------------------------------------------------------------------------------------

Heal = Callable[[], None]
Inject = Callable[[Odd, str, random.Random], Heal]
"""Does harm now; what it returns mends what does not mend itself."""


def nothing() -> None:
    """It mends itself."""


def killed_site(federation: Odd, site: str, rng: random.Random) -> Heal:
    federation.kill(site)
    time.sleep(rng.uniform(0, 2))
    federation.start(site)
    return nothing


def killed(mark: str) -> Inject:
    def inject(federation: Odd, site: str, rng: random.Random) -> Heal:
        for _ in range(100):
            if process := federation.child(mark):
                process.kill()
                return nothing
            time.sleep(0.1)
        raise RuntimeError(f"no process {mark} to kill")

    return inject


def killed_coordinator(federation: Odd, site: str, rng: random.Random) -> Heal:
    federation.kill("server")
    time.sleep(rng.uniform(0, 2))
    federation.start("server")
    return nothing


def hangs(federation: Odd, site: str, rng: random.Random) -> Heal:
    (federation.folder / f"{site}.odd" / "hang").touch()
    return nothing


def never_returns(federation: Odd, site: str, rng: random.Random) -> Heal:
    federation.kill(site)
    return lambda: federation.start(site)


def cut_line(federation: Odd, site: str, rng: random.Random) -> Heal:
    federation.lines[site].cut()
    time.sleep(rng.uniform(1, 6))
    federation.lines[site].heal()
    return nothing


def full(folder: Callable[[Odd, str], Path]) -> Inject:
    def inject(federation: Odd, site: str, rng: random.Random) -> Heal:
        ballast = folder(federation, site) / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"0")
        time.sleep(rng.uniform(2, 6))
        ballast.unlink()
        return nothing

    return inject


def truncated(federation: Odd, site: str, rng: random.Random) -> Heal:
    """The coordinator is killed, and the checkpoint that it wrote last is cut short."""
    federation.kill("server")
    newest = max((federation.home / "runs").glob("*/federated.checkpoint"), key=lambda p: p.stat().st_mtime)
    content = newest.read_bytes()
    newest.write_bytes(content[: rng.randrange(len(content))])
    federation.start("server")
    return nothing


def wrong_clock(federation: Odd, site: str, rng: random.Random) -> Heal:
    federation.kill(site)
    federation.clocks[site] = rng.choice((-600.0, 600.0))
    federation.start(site)
    return lambda: federation.clocks.update({site: 0.0})


FAULTS: dict[str, Inject] = {
    "SIGKILL of a site": killed_site,
    "SIGKILL of the SuperLink": killed("server.superlink"),
    "SIGKILL of the SuperExec": killed("flower-superexec"),
    "SIGKILL of the ServerApp": killed("flwr-serverapp"),
    "SIGKILL of the gateway": killed("server.gateway"),
    "SIGKILL of the whole coordinator": killed_coordinator,
    "a site hangs in training": hangs,
    "a site never returns": never_returns,
    "a line is cut": cut_line,
    "disk full at a site": full(lambda federation, site: federation.folder / site),
    "disk full at the coordinator": full(lambda federation, site: federation.home),
    "a truncated checkpoint": truncated,
    "a clock 10 minutes off": wrong_clock,
}


# --- one injection --------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What one injection did."""

    recovery_s: float
    void: int
    seen: str
    """What `status` said of the run in the middle of it."""


@dataclass
class Ledger:
    """What must never be lost."""

    completed: dict[str, dict[int, Any]] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    ended_otherwise: list[str] = field(default_factory=list)

    def take(self, federation: Federation, run: str) -> int:
        """Remember the completed rounds; how many there are."""
        known = self.completed.setdefault(run, {})
        for record in federation.rounds(run):
            if not record["void"]:
                known.setdefault(record["round"], record["validation"])
        return len(known)

    def lost(self, federation: Federation) -> int:
        """Completed rounds that are not, or not the same, in what the run has written down at its end."""
        missing = 0
        for run, known in self.completed.items():
            now = {r["round"]: r["validation"] for r in federation.rounds(run) if not r["void"]}
            missing += sum(now.get(number) != validation for number, validation in known.items())
        return missing


def running(federation: Federation, ledger: Ledger, run: str, slower: int) -> str:
    """A run that has rounds left; another one where this is over."""
    if run:
        stage = federation.state(run)["stage"]
        if stage == "running" and len(federation.rounds(run)) < 33:
            return run
        stage = federation.wait(run, 300 * slower)
        ledger.take(federation, run)
        (ledger.finished if stage == "finished" else ledger.ended_otherwise).append(run)
    name = federation.submit()
    federation.wait(name, 90 * slower, ("running",))
    wait_for(lambda: ledger.take(federation, name) > 0, 120 * slower)
    return name


def wait_for(what: Callable[[], bool], most_s: float) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not what():
        if time.monotonic() - started > most_s:
            raise TimeoutError
        time.sleep(0.05)
    return time.monotonic() - started


def injected(federation: Odd, ledger: Ledger, run: str, name: str, rng: random.Random, most_s: float) -> Outcome:
    time.sleep(rng.uniform(0, 3))
    before, rounds = ledger.take(federation, run), len(federation.rounds(run))
    site, started = rng.choice(SITES), time.monotonic()
    heal = FAULTS[name](federation, site, rng)
    seen = federation.server("status").strip().splitlines()[-1]
    since = len(federation.rounds(run))
    try:
        # Two rounds: the first may have been nearly done when the fault came.
        wait_for(lambda: ledger.take(federation, run) >= before + 2 or over(federation, run), most_s)
    except TimeoutError:
        raise RuntimeError(f"{name} at {site}: no round for {most_s} s\n{federation.logs()}") from None
    recovery_s = time.monotonic() - started
    heal()
    void = sum(r["void"] for r in federation.rounds(run)[min(rounds, since) :])
    return Outcome(recovery_s, void, seen)


def over(federation: Federation, run: str) -> bool:
    return federation.state(run)["stage"] in ("finished", "failed", "stopped")


def sent_twice(federation: Odd) -> int:
    """Updates that a site sent a second time in the same round of a run."""
    twice = 0
    for site in federation.sites:
        path = federation.folder / f"{site}.odd" / "submits.jsonl"
        sent = [line for line in path.read_text(encoding="utf-8").splitlines() if '"asked": "train"' in line]
        twice += len(sent) - len(set(sent))
    return twice


def other_bits(federation: Federation, runs: list[str]) -> list[str]:
    """Finished runs whose weights are not those that one process computes from the same plan and the same sites."""
    home, hospitals = Home.at(federation.home), {site: home_of(federation.folder / site) for site in federation.sites}
    expected = {name: weights_of(Run.find(home, name), hospitals) for name in runs}
    return [name for name, sha in expected.items() if federation.result(name)["weights_sha256"] != sha]


def undisturbed_bits(folder: Path, config: str) -> bool:
    """Whether a run of its own consortium, without a fault, ends in the bits of `simulate.py`."""
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    federation = Federation(folder, folder / "config.yaml", SITES, port=free_port())
    try:
        federation.found()
        federation.start()
        federation.ready()
        run = federation.submit()
        assert federation.wait(run, 1800) == "finished"
        return bool(federation.result(run)["weights_sha256"] == simulated(federation.config))
    finally:
        federation.stop()


def mounted(folder: Path, megabytes: int) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--injections", type=int, default=65)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one row of the table")
    parser.add_argument(
        "--slower", type=int, default=1, metavar="N", help="N times as long for everything: a busy machine"
    )
    options = parser.parse_args()
    rng, ledger = random.Random(options.seed), Ledger()
    config = CONFIG.replace("timeout_s: 12", f"timeout_s: {12 * options.slower}")
    names = [options.only] if options.only else list(FAULTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        federation = Odd(folder, folder / "config.yaml", SITES, port=free_port())
        disks = [folder / site for site in SITES] + [federation.home]
        mounts = [disk for disk in disks if mounted(disk, 300 if disk == federation.home else 20)]
        if len(mounts) < len(disks):
            names = [name for name in names if not name.startswith("disk full")]
            print("no right to mount a file system: the rows `disk full` are left out")
        plan = [names[i % len(names)] for i in range(options.injections)]
        rng.shuffle(plan)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
        try:
            federation.found()
            federation.start()
            federation.ready()
            run = ""
            for number, name in enumerate(plan, 1):
                run = running(federation, ledger, run, options.slower)
                outcomes[name].append(
                    outcome := injected(federation, ledger, run, name, rng, RECOVERY_S * options.slower)
                )
                print(f"{number:3} of {len(plan)}  {name:34} {outcome.recovery_s:6.1f} s  void {outcome.void}  "
                      f"{outcome.seen[:150]}", flush=True)  # fmt: skip
            stage = federation.wait(run, 600 * options.slower)
            ledger.take(federation, run)
            (ledger.finished if stage == "finished" else ledger.ended_otherwise).append(run)
            lost, twice = ledger.lost(federation), sent_twice(federation)
            other = other_bits(federation, ledger.finished)
        finally:
            federation.stop()
            for disk in mounts:
                subprocess.run(["umount", "-l", str(disk)], check=False)
    with tempfile.TemporaryDirectory() as name:
        is_same = undisturbed_bits(Path(name), config)
    print(f"\n{'fault':34} {'times':>5} {'to the second round after, s':>30} {'rounds void':>12}")
    for name, found in outcomes.items():
        times = sorted(o.recovery_s for o in found)
        if times:
            middle = times[len(times) // 2]
            print(f"{name:34} {len(found):5} {f'{times[0]:.1f} to {times[-1]:.1f}, median {middle:.1f}':>30} "
                  f"{sum(o.void for o in found):12}")  # fmt: skip
            print(f"{'':34} an operator saw: {found[0].seen[:160]}")
    for run in ledger.ended_otherwise:
        print(f"{run} did not finish")
    print(json.dumps({
        "injections": sum(map(len, outcomes.values())), "completed_rounds_lost": lost, "sent_twice": twice,
        "runs_finished": f"{len(ledger.finished)} of {len(ledger.finished) + len(ledger.ended_otherwise)}",
        "runs_of_other_bits_than_replayed": len(other), "undisturbed_as_simulated": is_same,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
