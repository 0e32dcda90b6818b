"""A sample of the files that benchmarks/odd_files.py draws by the thousand: each right, or refused by name."""

import warnings

import numpy as np
import pytest

from benchmarks import odd_images

FAMILIES = (
    odd_images.grey_dicom, odd_images.voi_dicom, odd_images.colour_dicom, odd_images.palette_dicom,
    odd_images.packed_dicom, odd_images.bad_dicom, odd_images.tiff, odd_images.odd_tiff, odd_images.png,
    odd_images.jpeg, odd_images.damaged,
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_drawn_files_give_what_they_must(tmp_path, family):
    rng = np.random.default_rng(11)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that write odd files
        for number in range(12):
            assert family(tmp_path / str(number), rng)() is None, number
