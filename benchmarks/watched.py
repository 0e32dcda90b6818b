"""Debian's Prometheus scrapes a coordinator and three sites while they train; a picture of what it has.

    python benchmarks/watched.py [--out docs/monitoring.png]        (needs `prometheus` and `promtool`)

Every number of the picture comes from Prometheus's own interface. One site is stopped in the middle, and started again.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.deployment.federation import Federation, free_port  # noqa: E402

CONFIG = """
name: watched
data: {kind: synthetic, sites: 4, cases: 200, size: 28}
sites: {split: iid, count: 4}
privacy: none
plan: {dataset: images, labels: [clear, disease], shape: [28, 28, 1]}
model: {kind: cnn, architecture: plain}
federation: {rounds: 12, quorum: 3, timeout_s: 20, local: {steps: 5, batch: 16}}
baselines: []
personalise: {mix: false}
"""
SITES = ("site-1", "site-2", "site-3", "site-4")
SHOWN = {
    "sites connected": "sum(consilium_site_connected)",
    "rounds done, and void": "consilium_run_rounds or consilium_run_void_rounds",
    "seconds a round": "consilium_run_round_seconds",
    "sites awaited": "consilium_run_awaited_sites",
    "resident processes that are up, by themselves": "sum(consilium_resident_up)",
    "memory of the coordinator's processes, MB": "sum(consilium_process_resident_bytes) / 1e6",
}


def main() -> None:
    """Train, scrape, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("monitoring.png"))
    out = parser.parse_args().out.resolve()
    assert shutil.which("prometheus"), "apt-get install prometheus"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "plan.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        federation = Federation(folder, config, SITES)
        federation.found()
        watch(federation, out)


def watch(federation: Federation, out: Path) -> None:
    """One run under Prometheus's eyes."""
    begun = time.time()
    federation.start()
    ports, watchers = {name: free_port() for name in ("server", *SITES)}, []
    try:
        federation.ready()
        for name, port in ports.items():
            home = federation.home if name == "server" else federation.folder / name
            who = "server" if name == "server" else "client"
            command = [sys.executable, "-m", who, "metrics", "--port", str(port), "--home", str(home)]
            watchers.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
            check(who, home)
        own, prometheus = scrape(federation.folder, ports.values())
        watchers.append(prometheus)
        name = federation.submit()
        disturb(federation, name)
        print(f"run {name}: {federation.wait(name, 600)}, {len(federation.rounds(name))} rounds", flush=True)
        time.sleep(5)
        targets = ask(own, "up")["data"]["result"]
        print(f"Prometheus scrapes {len(targets)} targets, up: {[one['value'][1] for one in targets]}")
        assert len(targets) == len(ports)
        assert all(one["value"][1] == "1" for one in targets)
        draw(own, begun, out)
    finally:
        for watcher in watchers:
            watcher.terminate()
            watcher.wait(30)
        federation.stop()


def check(who: str, home: Path) -> None:
    """`promtool check metrics`."""
    command = [sys.executable, "-m", who, "metrics", "--print", "--home", str(home)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    checked = subprocess.run(["promtool", "check", "metrics"], input=printed, capture_output=True)
    print(f"promtool check metrics, {home.name}: {checked.returncode} {checked.stderr.decode()}".strip(), flush=True)
    assert checked.returncode == 0


def scrape(folder: Path, ports: Any) -> tuple[int, "subprocess.Popen[bytes]"]:
    """Begin Prometheus; its port and its process."""
    own, targets = free_port(), [f"127.0.0.1:{port}" for port in ports]
    config = {"scrape_configs": [{"job_name": "consilium", "scrape_interval": "1s",
                                  "static_configs": [{"targets": targets}]}]}  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
               f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]  # fmt: skip
    return own, subprocess.Popen(command)


def disturb(federation: Federation, name: str) -> None:
    """After a third of the rounds a site is stopped; some rounds later it is back."""
    for rounds, act in ((4, lambda: federation.kill("site-4")), (7, lambda: federation.start("site-4"))):
        while len(federation.rounds(name)) < rounds and federation.state(name)["stage"] in ("waiting", "running"):
            time.sleep(0.2)
        act()


def ask(port: int, query: str, **others: Any) -> Any:
    """Prometheus's answer."""
    path = "query_range" if others else "query"
    words = urllib.parse.urlencode({"query": query, **others})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{words}") as answer:
        return json.load(answer)


def draw(port: int, begun: float, out: Path) -> None:
    """A panel a question."""
    figure = Figure(figsize=(11, 5.6), layout="constrained", dpi=90)
    now = time.time()
    for panel, (title, query) in zip(figure.subplots(2, 3).flat, SHOWN.items(), strict=True):
        for series in ask(port, query, start=begun, end=now, step=1)["data"]["result"]:
            at, values = zip(*((t - begun, float(v)) for t, v in series["values"]), strict=True)
            panel.step(at, values, where="post", label=series["metric"].get("__name__", ""))
        panel.set_title(title, fontsize=9)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("s", fontsize=8)
    figure.savefig(out)
    print(f"drawn: {out}")


if __name__ == "__main__":
    main()
