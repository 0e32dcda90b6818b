"""Same seed, same bits: in a second run, and in a run killed at a random moment and resumed.

    python benchmarks/resume.py [--kills 10]

Each configuration runs twice undisturbed, then is killed with SIGKILL (its whole process group) at a moment drawn
uniformly over its duration, and resumed to its end: that many times. Compared are the SHA-256 of every model file and
of result.json without its seconds. Over Flower's engine (where Ray is installed) a few kills, for a start takes long.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SMALL = ("data.cases=60", "federation.rounds=6")
SCAFFOLD = ("federation.strategy=scaffold", "federation.local={steps: 4, optimizer: sgd, learning_rate: 0.05}")


@dataclass(frozen=True)
class Case:
    """One way to run the program."""

    name: str
    config: str
    more: tuple[str, ...] = ()
    """Overrides and options."""

    def command(self, out: Path) -> list[str]:
        """What a user would type."""
        return [sys.executable, "simulate.py", self.config, *SMALL, *self.more, "--out", str(out)]


CNN = Case("cnn", "configs/demo.yaml")
SVM = Case("svm", "configs/demo-svm.yaml")
FLOWER = Case(
    "cnn, SCAFFOLD, over Flower",
    "configs/demo.yaml",
    (*SCAFFOLD, "baselines=[]", "personalise.mix=false", "--engine", "flower"),
)


def run(command: Sequence[str], kill_after_s: float | None = None) -> bool:
    """Run to the end, or kill the process group at a moment; whether it came to the end."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, complaint = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{complaint.decode()}")
    return True


def bits(out: Path) -> dict[str, str]:
    """What must not differ: every model file, and result.json without its timings."""
    found = {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*.safetensors"))}
    result = json.loads((out / "result.json").read_text())
    found["result.json"] = json.dumps(_without_seconds(result), sort_keys=True).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def _without_seconds(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _without_seconds(v) for k, v in tree.items() if k != "seconds"}
    return [_without_seconds(v) for v in tree] if isinstance(tree, list) else tree


def stage(out: Path) -> str:
    """How far a killed run had come."""
    if (out / "result.json").exists():
        return "result written"
    names = {f.stem for f in out.rglob("*.checkpoint")}
    if names - {"federated"} or any(out.rglob("federated.safetensors")):
        return "comparing"
    return "rounds" if names else "before a checkpoint"


def measure(case: Case, kills: int, folder: Path, chance: random.Random, repeats: int = 1) -> dict[str, Any]:
    """An undisturbed run and its repeats, then killed and resumed ones."""
    started = time.monotonic()
    run(case.command(folder / "first"))
    duration_s = time.monotonic() - started
    expected = bits(folder / "first")
    differs = []
    for number in range(repeats):
        run(case.command(folder / f"again-{number}"))
        if bits(folder / f"again-{number}") != expected:
            differs.append(f"repeat {number}")
    stages: Counter[str] = Counter()
    for number in range(kills):
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        moment_s = chance.uniform(0, duration_s)
        ended = run(case.command(out), moment_s)
        stages["already at its end" if ended else stage(out)] += 1
        run([*case.command(out), "--resume"])
        if bits(out) != expected:
            differs.append(f"kill {number} after {moment_s:.2f} s")
    return {
        "name": case.name,
        "seconds": duration_s,
        "files": len(expected),
        "kills": kills,
        "stages": stages,
        "differs": differs,
    }


def main() -> None:
    """Print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="for each configuration (default: 10)")
    kills, chance, rows = parser.parse_args().kills, random.Random(1), []
    plan = [(CNN, kills), (SVM, kills)]
    if importlib.util.find_spec("ray"):
        plan.append((FLOWER, min(kills, 3)))
    for case, count in plan:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(case, count, Path(folder), chance))
        row = rows[-1]
        where = ", ".join(f"{n} {name}" for name, n in row["stages"].items())
        print(
            f"{row['name']}: {row['seconds']:.1f} s undisturbed; {row['files']} files compared; {count} kills ({where})"
        )
        print(
            f"  {'all the same bits' if not row['differs'] else 'DIFFERENT: ' + '; '.join(row['differs'])}", flush=True
        )
    mismatches = sum(len(row["differs"]) for row in rows)
    print(json.dumps({"kills": sum(r["kills"] for r in rows), "runs_repeated": len(rows), "mismatches": mismatches}))
    sys.exit(mismatches > 0)


if __name__ == "__main__":
    main()
