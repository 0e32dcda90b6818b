"""Same seed, same bits: in a second run, and in a run killed at a random moment and resumed.

    python benchmarks/resume.py [--kills 10]

Each configuration runs twice undisturbed, then is killed with SIGKILL (its whole process group) at a moment drawn
uniformly over its duration (one in five before the first checkpoint, the others after it), and resumed to its end: that
many times. Compared are the SHA-256 of every model file and of result.json without its seconds and its counts of bytes
(a resumed run exchanges the keys of secure aggregation anew). Over Flower's engine (where Ray is installed) there are
only a few kills, for it takes long to start.
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
SMALL = ("data.cases=60", "federation.rounds=10")
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


@dataclass(frozen=True)
class Moment:
    """When to kill a run."""

    seconds: float
    after_a_checkpoint: bool
    """Counted from the first checkpoint on, else from the start."""


def run(command: Sequence[str], out: Path, kill: Moment | None = None) -> tuple[float, float] | None:
    """Run to the end, or kill the process group at a moment.

    Returns:
        Seconds until the first checkpoint, and from there to the end; nothing if it was killed.
    """
    begun, first = time.monotonic(), None
    with tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(command, cwd=ROOT, stdout=complaint, stderr=complaint, start_new_session=True)
        while process.poll() is None:
            now = time.monotonic()
            if first is None and any(out.glob("seed-*/*.checkpoint")):
                first = now
            since = first if kill and kill.after_a_checkpoint else begun
            if kill and since is not None and now - since >= kill.seconds:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None
            time.sleep(0.005)
        if process.returncode:
            complaint.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{complaint.read().decode()}")
    first = first or begun
    return first - begun, time.monotonic() - first


def bits(out: Path) -> dict[str, str]:
    """What must not differ: every model file, and result.json without what it cost."""
    found = {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*.safetensors"))}
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    found["result.json"] = json.dumps(_without_costs(result), sort_keys=True).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def _without_costs(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _without_costs(v) for k, v in tree.items() if k not in ("seconds", "bytes_up", "bytes_down")}
    return [_without_costs(v) for v in tree] if isinstance(tree, list) else tree


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
    start_s, work_s = run(case.command(folder / "first"), folder / "first") or (0.0, 0.0)
    expected = bits(folder / "first")
    differs = []
    for number in range(repeats):
        out = folder / f"again-{number}"
        run(case.command(out), out)
        if bits(out) != expected:
            differs.append(f"repeat {number}")
    stages: Counter[str] = Counter()
    out = folder / "killed"
    while sum(stages.values()) < kills:
        shutil.rmtree(out, ignore_errors=True)
        late = chance.random() < 0.8
        moment = Moment(chance.uniform(0, work_s if late else start_s), late)
        if run(case.command(out), out, moment):
            continue  # faster than the first one: at its end before that moment
        stages[stage(out)] += 1
        run([*case.command(out), "--resume"], out)
        if bits(out) != expected:
            differs.append(f"killed at {moment}")
    return {
        "name": case.name,
        "seconds": start_s + work_s,
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
