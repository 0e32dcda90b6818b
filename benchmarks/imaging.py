"""Our filters and segmentations beside scipy, OpenCV, scikit-image, scikit-learn and Pillow: same values, and how fast.

    python benchmarks/imaging.py            (all libraries: pip install -e .[dev,bench])

Caveats first. Every library runs on one thread, in turns, and the best of several turns counts: take the ratios, the
absolute rates depend on the machine. Each gets float32 images, or 8 bits where that is all it takes (marked u8; its
conversion is not timed). The border rule is ours wherever the library has it; else only the inside is compared, though
of edges Otsu's threshold still sees the border. scikit-image's resize and CLAHE, OpenCV's area resize and the iterated
k-means of scikit-learn and OpenCV are defined otherwise, so they differ more.
"""

import json
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client import readers
from common.errors import ImageError
from common.imaging import Picture, Pipeline, contrast, filters, geometry, segment, steps

try:
    import skimage.exposure
    import skimage.filters
    import skimage.transform
except ImportError:
    sys.exit("This comparison needs scikit-image: pip install -e .[bench]")

SIZES = {28: 300, 512: 1}  # pixels a side: images in the stack, as many as the pipeline runs at once
TURNS = 7
Run = Callable[[], np.ndarray]


@dataclass
class Contest:
    """One thing to compute, and who computes it."""

    ours: Run
    peers: dict[str, Run]
    margin: int = 0
    """Rows and columns at the border where the rules differ, left out of the comparison of values."""
    is_mask: bool = False

    def difference(self, run: Run) -> float:
        """The largest, or of masks the share of pixels that differ."""
        theirs = np.asarray(run()).astype(float)
        inner = slice(self.margin, -self.margin or None)
        gap = np.abs(np.asarray(self.ours()).reshape(theirs.shape) - theirs)[:, inner, inner]
        return float((gap > 0).mean() if self.is_mask else gap.max())


def race(runs: dict[str, Run]) -> dict[str, float]:
    """Seconds of each, the best of several turns, one after the other in each turn."""
    best = dict.fromkeys(runs, float("inf"))
    begun = time.perf_counter()
    for turn in range(TURNS * 5):
        if turn >= TURNS and time.perf_counter() - begun > 2:
            break
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def images(size: int, count: int) -> np.ndarray:
    """Smooth blobs with noise, 8 bits deep so that every library can take them: float32[n, h, w] in 0..1."""
    noise = np.random.default_rng(0).normal(size=(count, size, size))
    blobs = ndimage.gaussian_filter(noise, (0, size / 16, size / 16))
    blobs = blobs / blobs.std() + 0.15 * noise
    return (np.clip(blobs * 45 + 120, 0, 255).round() / 255).astype(np.float32)


def each(run: Callable[[np.ndarray], Any], stack: np.ndarray) -> Run:
    """A library that takes one image at a time, over a stack."""
    return lambda: np.stack([run(image) for image in stack])


def smoothing(stack: np.ndarray) -> dict[str, Contest]:
    """The mean filter and the Gaussian."""
    ours = stack[..., None]
    eight = (stack * 255).round().astype(np.uint8)
    square = np.ones((5, 5), np.uint8)

    def cv_sum(image: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(image, -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)

    inside = cv_sum(np.ones_like(stack[0]))
    found = {
        "mean 5×5": Contest(
            lambda: filters.mean(ours, 2),
            {
                "scipy": lambda: ndimage.uniform_filter(stack, (0, 5, 5), mode="constant") * (25 / inside),
                "OpenCV": each(lambda i: cv_sum(i) / inside, stack),
                "scikit-image u8": lambda: each(lambda i: skimage.filters.rank.mean(i, square), eight)() / 255,
            },
        )
    }
    for sigma in (1.0, 3.0):
        taps = (2 * int(4 * sigma + 0.5) + 1,) * 2
        cv_gaussian = partial(cv2.GaussianBlur, ksize=taps, sigmaX=sigma, borderType=cv2.BORDER_REFLECT)
        found[f"Gaussian σ {sigma:g}"] = Contest(
            partial(filters.gaussian, ours, sigma),
            {
                "scipy": partial(ndimage.gaussian_filter, stack, (0, sigma, sigma)),
                "OpenCV": each(cv_gaussian, stack),
                "scikit-image": each(partial(skimage.filters.gaussian, sigma=sigma, mode="reflect"), stack),
            },
        )
    return found


def edges(stack: np.ndarray) -> dict[str, Contest]:
    """The gradient, and what Otsu's threshold makes of it."""
    half = (-0.5, 0, 0.5)

    def cv_gradient(image: np.ndarray) -> np.ndarray:
        return cv2.magnitude(*(cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx, ksize=1, scale=0.5) for dx in (1, 0)))

    def cv_edges(image: np.ndarray) -> np.ndarray:
        strength = cv_gradient(image)
        return cv2.threshold(cv2.convertScaleAbs(strength, alpha=255 / strength.max()), 0, 1, cv2.THRESH_OTSU)[1]

    def sk_edges(image: np.ndarray) -> np.ndarray:
        strength = np.hypot(*np.gradient(image))
        return strength > skimage.filters.threshold_otsu(strength)

    slopes = {
        "numpy": lambda: np.hypot(*np.gradient(stack, axis=(1, 2))),
        "scipy": lambda: np.hypot(*(ndimage.correlate1d(stack, half, axis) for axis in (1, 2))),
        "OpenCV": each(cv_gradient, stack),
    }
    masks = {"OpenCV": each(cv_edges, stack), "scikit-image": each(sk_edges, stack)}
    return {
        "gradient": Contest(lambda: segment.gradient(stack), slopes, margin=1),
        "edges, Otsu": Contest(lambda: segment.edges(stack, None, 0, 0), masks, margin=1, is_mask=True),
    }


def clusters(stack: np.ndarray) -> dict[str, Contest]:
    """k-means of the intensities; for two clusters Otsu's threshold is the same thing."""
    eight = (stack * 255).round().astype(np.uint8)
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-6)

    def ordered(image: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
        return np.argsort(np.argsort(centres.ravel()))[labels.ravel()].reshape(image.shape)

    def sk(image: np.ndarray, k: int) -> np.ndarray:
        fitted = KMeans(k, n_init=3, random_state=0).fit(image.reshape(-1, 1))
        return ordered(image, fitted.labels_, fitted.cluster_centers_)

    def cv(image: np.ndarray, k: int) -> np.ndarray:
        return ordered(image, *cv2.kmeans(image.reshape(-1, 1), k, None, until, 3, cv2.KMEANS_PP_CENTERS)[1:])

    found = {}
    for k in (2, 3):
        peers = {"scikit-learn": each(partial(sk, k=k), stack), "OpenCV": each(partial(cv, k=k), stack)}
        found[f"{k}-means"] = Contest(partial(segment.clusters, stack, k, 256), peers, is_mask=True)
    found["2-means"].peers["OpenCV Otsu u8"] = each(lambda i: cv2.threshold(i, 0, 1, cv2.THRESH_OTSU)[1], eight)
    return found


def others(stack: np.ndarray) -> dict[str, Contest]:
    """Resize and CLAHE."""
    ours, size = stack[..., None], stack.shape[1]
    eight = (stack * 255).round().astype(np.uint8)
    to = 224 if size > 224 else 2 * size
    near = cv2.INTER_AREA if to < size else cv2.INTER_LINEAR
    tiles = 8 if size >= 64 else 4
    equaliser = cv2.createCLAHE(2.0, (tiles, tiles))
    sizes = {
        "Pillow": each(lambda i: np.asarray(Image.fromarray(i).resize((to, to), Image.Resampling.BILINEAR)), stack),
        "OpenCV": each(lambda i: cv2.resize(i, (to, to), interpolation=near), stack),
        "scikit-image": each(lambda i: skimage.transform.resize(i, (to, to), anti_aliasing=to < size), stack),
    }
    equalised = {
        "OpenCV u8": lambda: each(equaliser.apply, eight)() / np.float32(255),
        "scikit-image": each(lambda i: skimage.exposure.equalize_adapthist(i, size // tiles), stack),
    }
    return {
        f"resize to {to}²": Contest(lambda: geometry.resize(ours, to, to), sizes),
        "CLAHE": Contest(lambda: contrast.clahe(ours, 2.0, tiles), equalised),
    }


def compare() -> dict[str, Any]:
    """Values and rates of everything at every size; prints the table."""
    print("Mpixel/s; in brackets the largest difference from ours, or of a segmentation the share of other pixels")
    figures: dict[str, Any] = {}
    for size, count in SIZES.items():
        stack = images(size, count)
        for name, contest in (smoothing(stack) | edges(stack) | clusters(stack) | others(stack)).items():
            apart = {who: contest.difference(run) for who, run in contest.peers.items()}
            seconds = race({"ours": contest.ours, **contest.peers})
            rates = {who: stack.size / s / 1e6 for who, s in seconds.items()}
            fastest = max(contest.peers, key=rates.__getitem__)
            ratio = rates["ours"] / rates[fastest]
            beside = "  ".join(f"{who} {rates[who]:.4g} ({apart[who]:.0e})" for who in contest.peers)
            print(f"{f'{name} at {size}²':23} ours {rates['ours']:6.4g} = {ratio:5.2f} × fastest | {beside}")
            figures[f"{name} {size}"] = {
                "mpixel_per_s": {who: round(rate, 1) for who, rate in rates.items()},
                "fastest_other": fastest,
                "ours_over_fastest": round(ratio, 3),
                "difference": apart,
            }
    return figures


def memory() -> dict[str, float]:
    """Peak of each step alone on one 2000×2000 image, and of a pipeline over 40 of them, as multiples of one image."""
    stack = images(200, 1).repeat(10, axis=1).repeat(10, axis=2)[..., None]
    wanted = [
        *(
            steps.Mean(step="mean", radius=2),
            steps.Gaussian(step="gaussian"),
            steps.Edges(step="edges", min_pixels=9, close=1),
        ),
        *(steps.Clusters(step="clusters"), steps.Clusters(step="clusters", k=4, bins=65536), steps.Clahe(step="clahe")),
        steps.Resize(step="resize", size=224),
    ]
    peaks = {step.label(): _peak(lambda step=step: step.apply(stack)) / stack.nbytes for step in wanted}
    small = Pipeline([steps.Gaussian(step="gaussian"), steps.Resize(step="resize", size=224)])
    many = (Picture(stack[0] * (1 + 0 * i), 0, 1) for i in range(40))
    peaks["pipeline over 40 images, to 224²"] = _peak(lambda: small.apply(many)) / stack.nbytes
    print("\nPeak memory beside the input, in images of 2000×2000 (16 MB of float32)")
    for label, peak in peaks.items():
        print(f"  {label:48}{peak:6.1f}")
    return {label: round(peak, 2) for label, peak in peaks.items()}


def _peak(run: Callable[[], Any]) -> int:
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def reading() -> dict[str, Any]:
    """Rates of our DICOM reader over the files of pydicom and pydicom-data, by transfer syntax."""
    import pydicom

    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    if extra := find_spec("data_store"):
        folders.append(Path(str(extra.origin)).parent / "data")
    rates: dict[str, list[float]] = {}
    unread = 0
    for path in sorted(path for folder in folders for path in folder.rglob("*.dcm")):
        try:
            pixels = sum(p.pixels.size for p in readers.read(path, "all"))  # once for the decoder's import
        except ImageError:
            unread += 1
            continue
        start = time.perf_counter()
        readers.read(path, "all")
        seconds = time.perf_counter() - start
        meta = pydicom.dcmread(path, stop_before_pixels=True, force=True).file_meta
        syntax = str(getattr(meta.get("TransferSyntaxUID"), "name", "not said"))
        rates.setdefault(syntax, []).extend((seconds, pixels))
    print("\nReading DICOM, every frame to float32 (files of pydicom and pydicom-data)")
    print(f"  {'transfer syntax':62}{'files':>6}{'files/s':>9}{'Mpixel/s':>10}")
    figures: dict[str, Any] = {}
    for syntax, values in sorted(rates.items()):
        seconds, pixels = sum(values[::2]), sum(values[1::2])
        figures[syntax] = {
            "files": len(values) // 2,
            "files_per_s": len(values) / 2 / seconds,
            "mpixel_per_s": pixels / seconds / 1e6,
        }
        print(f"  {syntax[:60]:62}{len(values) // 2:6}{len(values) / 2 / seconds:9.0f}{pixels / seconds / 1e6:10.1f}")
    print(f"  {unread} files hold no image that can be read, and say why.")
    return figures


def main() -> None:
    """All of it; the last line is one JSON object."""
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        figures = {"steps": compare(), "peak_images": memory(), "dicom": reading()}
    slower = [name for name, f in figures["steps"].items() if f["ours_over_fastest"] < 1]
    print(f"\nSlower than the fastest: {', '.join(slower) or 'none'}.")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
