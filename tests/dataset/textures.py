"""Images that resemble nothing else: smooth noise, each of its own seed; and files and configurations of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]


def texture(seed: int, size: int = 64) -> Grey:
    """A grey image of spots of some pixels."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(size, size)), (0, 0), size / 20)
    return np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)


def jpeg(image: Grey) -> Grey:
    """As a JPEG brings it back."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]


def moved(image: Grey, angle: float = 0.0, scale: float = 1.0, shift: float = 0.0) -> Grey:
    """Turned by degrees about its middle, enlarged, shifted by a share of its width."""
    size = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), angle, scale)
    matrix[0, 2] += shift * size
    return cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def save(path: Path, image: NDArray[Any]) -> Path:
    """As a file of the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def folder_of(root: Path, name: Callable[[int], str], many: int = 48) -> Path:
    """A folder a class, ill and well by turns, with files of these names."""
    for i in range(many):
        save(root / ("ill" if i % 2 else "well") / name(i), texture(i, 24))
    return root


def configured(folder: Path, data: str, sites: str = "{split: iid, count: 2}") -> Path:
    """A configuration for the SVM."""
    path = folder / "c.yaml"
    path.write_text(
        f"name: t\ndata: {data}\nsites: {sites}\npreprocess: [{{step: resize, size: 16}}]\nmodel: {{kind: svm}}\n"
        "federation: {rounds: 4, secure: false}\nbaselines: []\npersonalise: {mix: false}\n",
        encoding="utf-8",
    )
    return path
