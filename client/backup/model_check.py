"""Models that lie in a site's folder, opened in a drill: one that scores an image came back whole."""

from pathlib import Path

import numpy as np

from client.custody.key_ring import Custody
from common.errors import ConsiliumError
from common.package import SUFFIX
from common.package.package_file import read_package
from common.storage import tensorfile


def open_all(models: list[str], problems: list[str], custody: Custody) -> None:
    """Open every package and every file of arrays; what was opened, and what does not open."""
    home = custody.home.folder
    for path in sorted(path for path in home.rglob("*") if path.suffix in (SUFFIX, ".safetensors")):
        name = path.relative_to(home).as_posix()
        try:
            models.append(f"{name}: {_package(path) if path.suffix == SUFFIX else _arrays(path)}")
        except (ConsiliumError, OSError, ValueError) as error:
            problems.append(f"{name}: {error}")


def _package(path: Path) -> str:
    """A model that was shared, on a grey image."""
    package = read_package(path)
    if package.content.private:
        return f"{package.content.model.kind}, without its private layers"
    scores = package.model().scores(package.weights, np.full((1, *package.content.shape), 0.5, np.float32))
    if not np.isfinite(scores).all():
        raise ValueError("its scores of an image are no numbers")
    return f"{package.content.model.kind}, scores {', '.join(f'{s:.3f}' for s in scores[0])}"


def _arrays(path: Path) -> str:
    arrays, _ = tensorfile.load(path)
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise ValueError("not all of its numbers are finite")
    return f"{len(arrays)} arrays"
