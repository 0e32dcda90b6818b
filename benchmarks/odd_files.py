"""Files and folders as they come, drawn at random, with what each must give: right, or refused by name.

    python benchmarks/odd_files.py [--seed N]

Some 4,400 image files by benchmarks/odd_images.py, and tables and folders by the module of that kind beside it. Each
runs in a process that may die. Counted: *wrong* results, *unnamed* errors (not one of ours, or without its name),
and *crashes* (the process died, or did not come back within a minute).
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.errors import ConsiliumError

PARTS = ("benchmarks.odd_images", "benchmarks.odd_tables")
"""Modules with `situations(folder, rng)`."""
PATIENCE_S = 60


def work(part: str, folder: Path, seed: int, skip: int, answers: Connection) -> None:
    """Try all situations of a part from one on; say each name before, and the verdict after."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    for number, situation in enumerate(import_module(part).situations(folder, rng)):
        if number < skip:
            continue
        answers.send(("begun", situation.name))
        answers.send(("ended", verdict(situation)))
    answers.send(("all", None))


def verdict(situation: Any) -> tuple[str, str]:
    """What became of one situation, and the reason."""
    try:
        wrong = situation.run()
    except ConsiliumError as error:
        is_named = situation.name in str(error) or Path(situation.name).name in str(error)
        return ("refused", str(error)) if is_named else ("unnamed_errors", str(error))
    except Exception as error:  # what must not happen
        return "unnamed_errors", f"{type(error).__name__}: {error}"
    if wrong is None:
        return "right", ""
    return ("unnamed_errors" if wrong.startswith("unnamed") else "wrong"), wrong


def tally(part: str, folder: Path, seed: int) -> list[tuple[str, str, str]]:
    """Name, verdict and reason of every situation; a process that dies is begun again behind where it died."""
    done: list[tuple[str, str, str]] = []
    context = multiprocessing.get_context("spawn")
    while True:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(part, folder, seed, len(done), there))
        process.start()
        there.close()
        name = "its beginning"
        try:
            while here.poll(PATIENCE_S):
                kind, content = here.recv()
                if kind == "all":
                    process.join()
                    return done
                if kind == "begun":
                    name = content
                else:
                    done.append((name, *content))
        except EOFError:
            pass
        process.join(1)
        process.kill()
        process.join()
        if process.exitcode == 1:
            sys.exit(f"{part}: this benchmark's own fault behind {name}; see above.")
        done.append((name, "crashes", f"exit status {process.exitcode}"))


def main() -> None:
    """All parts; what went wrong, then one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    started, done = time.monotonic(), []
    for part in PARTS:
        if find_spec(part):
            with tempfile.TemporaryDirectory() as folder:
                done += tally(part, Path(folder), seed)
    families: dict[str, dict[str, int]] = {}
    for name, said, why in done:
        counts = families.setdefault(name.rsplit("-", 1)[0], {})
        counts[said] = counts.get(said, 0) + 1
        if said in ("wrong", "unnamed_errors", "crashes"):
            print(f"{said}: {name}: {why[:200]}")
    for family, counts in families.items():
        print(f"  {family:20} {', '.join(f'{count} {said}' for said, count in sorted(counts.items()))}")
    print(f"{time.monotonic() - started:.0f} s, seed {seed}")
    totals = {said: sum(s == said for _, s, _ in done) for said in ("wrong", "unnamed_errors", "crashes")}
    print(json.dumps({"files": len(done), **totals}))
    sys.exit(any(totals.values()))


if __name__ == "__main__":
    main()
