"""Consilium on a machine without a network: installed from one file, joined, trained.

    make wheelhouse && python benchmarks/offline.py build/consilium-*.tar        (as root; takes some minutes)

Everything after the checksum runs in a network namespace of its own, in which there is a loopback and nothing else:
`install.sh` into an empty folder, then the commands of docs/deploy.md, typed as `consilium …` in a folder that has
nothing of this release: a coordinator, three hospitals, one plan, a model. Prints what each step took.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.deployment.federation import Federation  # noqa: E402

CONFIG = """
name: offline
data: {kind: synthetic, sites: 3, cases: 120, size: 28}
sites: {split: iid, count: 3}
privacy: none
plan: {dataset: images, labels: [clear, disease], shape: [28, 28, 1]}
model: {kind: cnn, architecture: plain}
federation: {rounds: 3, quorum: 3, timeout_s: 120, local: {steps: 5, batch: 16}}
baselines: []
personalise: {mix: false}
"""
INSIDE = "CONSILIUM_BENCHMARK_OFFLINE"


def main() -> None:
    """Check the file, go where there is no network, and do everything there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="what make wheelhouse wrote")
    archive = parser.parse_args().archive.resolve()
    if INSIDE not in os.environ:
        said = archive.with_name(archive.name + ".sha256").read_text(encoding="utf-8").split()[0]
        assert said == hashlib.file_digest(archive.open("rb"), "sha256").hexdigest(), "another checksum"
        print(f"{archive.name}: {archive.stat().st_size / 1e6:.0f} MB, sha256 as written", flush=True)
        shell = 'ip link set lo up && exec "$@"'
        again = ["unshare", "--net", "sh", "-c", shell, "sh", sys.executable, __file__, str(archive)]
        sys.exit(subprocess.run(again, env={**os.environ, INSIDE: "1"}).returncode)
    devices = [name for _, name in socket.if_nameindex()]
    print(f"network devices: {devices}", flush=True)
    assert devices == ["lo"]
    with tempfile.TemporaryDirectory() as folder:
        live(archive, Path(folder))


def live(archive: Path, folder: Path) -> None:
    """Install, join, train."""
    begun = time.monotonic()
    subprocess.run(["tar", "-xf", archive], cwd=folder, check=True)
    environment = folder / "opt" / "consilium"
    subprocess.run([folder / archive.stem / "install.sh", environment], check=True)
    step("installed", begun)
    config = folder / "plan.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    federation = Federation(folder, config)
    federation.program, federation.place = (str(environment / "bin" / "consilium"),), folder
    begun = time.monotonic()
    federation.found()
    step("three hospitals joined", begun)
    begun = time.monotonic()
    federation.start()
    try:
        federation.ready()
        name = federation.submit()
        stage = federation.wait(name, 900)
    finally:
        federation.stop()
    assert stage == "finished", federation.logs()
    result = federation.result(name)
    step(f"trained: {name}, {len(federation.rounds(name))} rounds, secure {result['secure_aggregation']['on']}", begun)
    print(json.dumps({key: result.get(key) for key in ("weights_sha256", "code")}))


def step(words: str, begun: float) -> None:
    """A line of what was done."""
    print(f"{words}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
