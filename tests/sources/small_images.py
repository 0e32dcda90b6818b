"""Small grey PNGs, each with other pixels."""

import zlib

import numpy as np
from PIL import Image


def write_images(folder, names):
    """Images of 4×4 below a folder, which follow from their names; the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(folder / name, "PNG")
    return folder
