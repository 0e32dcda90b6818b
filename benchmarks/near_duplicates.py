"""Near-duplicates in real images: how many are found, beside plain correlation of all pixels, and how long it takes.

    python benchmarks/near_duplicates.py                    BUSI and PneumoniaMNIST, in seconds
    python benchmarks/near_duplicates.py --images 100000    and as many drawn images, in minutes

Plain correlation above .95 is what is compared with: it knows no copy that is mirrored or a negative, and chest
radiographs of different people reach it.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from client.dataset import twins  # noqa: E402
from client.sources.thumbnail import SIDE, thumbnail  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
LEAST = 0.95


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="where busi.npz and pneumoniamnist.npz are"
    )
    parser.add_argument(
        "--images", type=int, default=10_000, metavar="N", help="so many drawn thumbnails, for the time"
    )
    options = parser.parse_args()
    busi, chest = np.load(options.data / "busi.npz"), np.load(options.data / "pneumoniamnist.npz")
    parts = np.concatenate([chest[f"{part}_images"] for part in ("train", "val", "test")])
    figures = {
        "busi": compared(busi["images"], busi["labels"]),
        "chest": compared(
            parts.reshape(-1, 28, 28), np.concatenate([chest[f"{p}_labels"][:, 0] for p in ("train", "val", "test")])
        ),
        "drawn": timed(options.images),
    }
    for name, figure in figures.items():
        print(f"{name:6}", *(f"{key} {value}" for key, value in figure.items()), sep="  ")
    print(json.dumps(figures))


def compared(images: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """What is found, and what plain correlation of all pixels finds."""
    n, began_s = len(images), time.perf_counter()
    thumbnails = [thumbnail(image.astype(np.float32)[:, :, None]) for image in images]
    read_s = time.perf_counter() - began_s
    result = find(thumbnails)
    found_s = time.perf_counter() - began_s - read_s
    plain = images.reshape(n, -1).astype(np.float32)
    plain -= plain.mean(1, keepdims=True)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    alike = np.argwhere(np.triu(plain @ plain.T >= LEAST, 1))
    group = result.together(np.arange(n))
    return {
        "images": n,
        "pairs": result.count,
        "in pairs": len(np.unique(result.pairs)),
        "identical": int(sum((images[i] == images[j]).all() for i, j in result.pairs)),
        "other labels": int((labels[result.pairs[:, 0]] != labels[result.pairs[:, 1]]).sum()),
        "plain pairs": len(alike),
        "in plain pairs": len(np.unique(alike)),
        "plain pairs in one group": int((group[alike[:, 0]] == group[alike[:, 1]]).sum()),
        "thumbnails s": round(read_s, 2),
        "pairs s": round(found_s, 2),
    }


def timed(n: int) -> dict[str, float]:
    """So many thumbnails of noise, of which a tenth is there twice."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(-127, 128, (n, SIDE * SIDE), dtype=np.int8)
    drawn[: n // 10] = drawn[n // 10 : 2 * (n // 10)]
    began_s = time.perf_counter()
    result = find([one.tobytes() for one in drawn])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images": n, "pairs": result.count, "s": round(time.perf_counter() - began_s, 2), "MiB": round(peak)}


def find(thumbnails: list[bytes]) -> twins.Twins:
    """All pairs, of people of their own."""
    return twins.find(thumbnails, LEAST, np.arange(len(thumbnails)), np.zeros(len(thumbnails), np.int64))


if __name__ == "__main__":
    main()
