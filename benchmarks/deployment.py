"""What a round of a real federation costs beyond the local computation: ours, and a stock Flower deployment.

    python benchmarks/deployment.py [--rounds 10] [--stock-rounds 3]

Caveats first. Everything runs on this one machine: a coordinator and three sites, which share its cores; a network adds
its own latency, six times a round (three exchanges to train, three to evaluate). Both train the same network on the
same cases with the same code for the local work, and both train and evaluate in every round. Ours: TLS, node
authentication, secure aggregation, a checkpoint after each round. Stock: Flower's own SuperLink, SuperNodes and FedAvg
as they come, without TLS and authentication, which favours it. The local computation of a round is the time inside
training and evaluation at the slowest site; the rest of the round is overhead. The first round, which pays for the
start, is not counted.
"""

import argparse
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.deployment.federation import SITES, Federation, free_port  # noqa: E402
from tests.deployment.whole import ended, until  # noqa: E402

CONFIG = """
name: benchmark
data: {data}
sites: {{split: iid, count: 3, test: 0.1}}
privacy: none
plan: {{dataset: images, labels: {labels}, shape: {shape}}}
model: {{kind: cnn, architecture: plain}}
federation: {{rounds: {rounds}, quorum: 3, timeout_s: 120, local: {{steps: 20, batch: 32}}}}
baselines: []
personalise: {{mix: false}}
"""
A_ROUND_S = 90
"""The most that a round may take, and the start."""
OURS = ("server.superlink", "flower-superexec", "flwr-serverapp", "server.gateway")
"""Processes of the coordinator, by what stands in their command lines; what is left is named by who started it."""
REAL = ROOT.parent / "shared" / "data" / "pneumoniamnist.npz"


def write_config(path: Path, rounds: int) -> None:
    """PneumoniaMNIST where it is there, else phantoms."""
    if REAL.exists():
        data, labels, shape = {"kind": "npz", "path": str(REAL), "labels": ["normal", "pneumonia"]}, "", [28, 28, 1]
        labels = "[normal, pneumonia]"
    else:
        data = {"kind": "synthetic", "sites": 3, "cases": 600, "size": 28}
        labels, shape = "[clear, disease]", [28, 28, 1]
    text = CONFIG.format(data=json.dumps(data), labels=labels, shape=shape, rounds=rounds)
    yaml.safe_load(text)
    path.write_text(text, encoding="utf-8")


class TimedFederation(Federation):
    """Sites that note how long they compute."""

    def _env(self, who: str) -> dict[str, str]:
        return super()._env(who) | {"CONSILIUM_BENCHMARK_TIMES": str(self.folder / f"{who}.times")}

    def start(self, *names: str) -> None:
        for name in names or ("server", *self.sites):
            if name == "server":
                super().start(name)
                continue
            with (self.folder / f"{name}.out").open("ab") as out:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, str(ROOT / "benchmarks" / "timed_client.py"), "run", "--home",
                     str(self.folder / name)],
                    cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=self._env(name), start_new_session=True,
                )  # fmt: skip


def ours(folder: Path, rounds: int) -> dict[str, Any]:
    config = folder / "config.yaml"
    write_config(config, rounds)
    federation = TimedFederation(folder, config)
    started = time.monotonic()
    with ended(federation):
        federation.found()
        federation.start()
        federation.ready()
        name = federation.submit()
        federation.wait(name, A_ROUND_S, ("running",))
        memory: dict[str, float] = {}
        samples: list[tuple[int, dict[str, float]]] = []  # rounds that were done, and seconds of a processor by then

        def is_over() -> bool:
            megabytes, seconds = resources(federation)
            memory.update({kind: max(memory.get(kind, 0.0), value) for kind, value in megabytes.items()})
            samples.append((len(federation.rounds(name)), seconds))
            time.sleep(0.5)
            return bool(federation.state(name)["stage"] != "running")

        until(is_over, A_ROUND_S * (rounds + 1))
        assert federation.state(name)["stage"] == "finished", federation.state(name)
        ends = [(r["at_s"] - r["seconds"], r["at_s"]) for r in federation.rounds(name)]
        overheads, seconds = overhead(ends, [folder / f"{site}.times" for site in SITES])
        return {"overhead": overheads, "round": seconds, "memory": memory, "processor_s": processor_s(samples, rounds),
                "from_start_s": time.monotonic() - started,
                "processes": {site: len(tree(federation.processes[site].pid)) for site in SITES}}  # fmt: skip


def processor_s(samples: list[tuple[int, dict[str, float]]], rounds: int) -> dict[str, float]:
    """Seconds of a processor a round, by process: between the first round's end and the last one's beginning."""
    inner = [(done, seconds) for done, seconds in samples if 1 <= done < rounds]
    (first, before), (last, after) = inner[0], inner[-1]
    return {kind: (after[kind] - before.get(kind, 0.0)) / max(1, last - first) for kind in after}


def overhead(windows: list[tuple[float, float]], times: list[Path]) -> tuple[list[float], list[float]]:
    """Seconds of each round after the first beyond the slowest site's computation, and whole."""
    notes = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in times]
    found = []
    for begin, end in windows[1:]:
        local = max(sum(n["seconds"] for n in site if begin < n["at"] <= end) for site in notes)
        found.append(end - begin - local)
    return found, [end - begin for begin, end in windows[1:]]


def tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def resources(federation: Federation) -> tuple[dict[str, float], dict[str, float]]:
    """Megabytes, and seconds of a processor so far, of every process, by what it is."""
    megabytes: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name, started in federation.processes.items():
        for process in tree(started.pid):
            with suppress(psutil.Error):
                command = " ".join(process.cmdline())
                kind = next((k for k in OURS if k in command), name)
                megabytes[kind] = max(megabytes.get(kind, 0.0), process.memory_info().rss / 2**20)
                seconds[kind] = seconds.get(kind, 0.0) + sum(process.cpu_times()[:2])
    return megabytes, seconds


def is_open(port: int) -> bool:
    """Whether somebody listens there: on a busy machine Flower takes its time to start."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def stock(folder: Path, rounds: int) -> dict[str, Any]:
    config = folder / "config.yaml"
    write_config(config, rounds)
    app = shutil.copytree(ROOT / "benchmarks" / "stock", folder / "app")
    port, flwr = free_port(), folder / "flwr"
    flwr.mkdir()
    (flwr / "config.toml").write_text(
        f'[superlink]\ndefault = "remote"\n\n[superlink.remote]\naddress = "127.0.0.1:{port}"\ninsecure = true\n',
        encoding="utf-8",
    )
    env = {
        **os.environ, "FLWR_HOME": str(flwr), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    log, started = (folder / "stock.log").open("wb"), []

    def run(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    try:
        run("flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation")
        until(lambda: is_open(port), A_ROUND_S)
        for site in SITES:
            node = f'site="{site}" times="{folder / site}.times"'
            run("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(free_port()),
                "--node-config", node)  # fmt: skip
        out = folder / "stamps.json"
        settings = f'config="{config}" out="{out}" rounds={rounds}'
        subprocess.run(
            ["flwr", "run", str(app), "remote", "--run-config", settings],
            env=env, check=True, stdout=log, stderr=subprocess.STDOUT, timeout=A_ROUND_S,
        )  # fmt: skip
        deadline_s, stamps = A_ROUND_S * (rounds + 1), list[float]()
        deadline = time.monotonic() + deadline_s
        while len(stamps) < rounds + 2 and time.monotonic() < deadline:  # one before the first round, and one at once
            time.sleep(0.5)
            stamps = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
        if len(stamps) < 4:
            end = (folder / "stock.log").read_text(encoding="utf-8")[-3000:]
            sys.exit(f"stock Flower: {len(stamps)} stamps, expected {rounds + 2} in {deadline_s} s. Its log:\n{end}")
        windows = list(itertools.pairwise(stamps[1:]))
        overheads, seconds = overhead(windows, [Path(f"{folder / site}.times") for site in SITES])
        return {"overhead": overheads, "round": seconds}
    finally:
        for process in started:
            for one in tree(process.pid):
                with suppress(psutil.Error):
                    one.terminate()
        time.sleep(2)
        for process in started:
            for one in tree(process.pid):
                with suppress(psutil.Error):
                    one.kill()
        log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--stock-rounds", type=int, default=3, help="after the first, which is not counted; 0: none")
    options = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, measure, rounds in (("ours", ours, options.rounds), ("stock", stock, options.stock_rounds)):
            (place := Path(folder) / name).mkdir()
            if rounds:
                figures[name] = measure(place, rounds + 1)
    for name, found in figures.items():
        rounds_s = " ".join(f"{s:.2f}" for s in found["round"])
        print(f"{name:6} {median(found['overhead']):6.2f} s beyond the local computation; rounds {rounds_s}")
    mine = figures["ours"]
    print(f"processes a site: {mine['processes']} (one: TensorFlow is imported once)")
    print(f"from start {mine['from_start_s']:.0f} s")
    print("peak MB:", {name: round(megabytes) for name, megabytes in mine["memory"].items()})
    processor_ms = {name: round(1000 * seconds) for name, seconds in mine["processor_s"].items()}
    print("ms of a processor a round, training too:", processor_ms, "all", sum(processor_ms.values()))
    summary = {"overhead_s_per_round": round(median(mine["overhead"]), 3), "processor_ms_per_round": processor_ms}
    if "stock" in figures:
        ratio = median(figures["stock"]["overhead"]) / median(mine["overhead"])
        summary["stock_over_ours"] = round(ratio, 1)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
