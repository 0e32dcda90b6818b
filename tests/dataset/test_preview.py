"""The preview is a readable PNG of every step, whatever the image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from client.dataset.preview import draw, preview
from client.readers.source import ImageFile
from common import config
from common.errors import DataError, ImageError
from common.imaging import Picture, Pipeline
from common.imaging.step_order import Steps

LONG = [
    {"step": "resize", "size": 32},
    {"step": "clahe", "tiles": 2},
    {"step": "edges"},
    {"step": "clusters"},
    {"step": "normalise"},
]


def pipeline(*steps):
    return Pipeline(TypeAdapter(Steps).validate_python(list(steps)))


@pytest.mark.parametrize("shape", [(28, 28, 1), (50, 40, 3)])
@pytest.mark.parametrize("steps", [[], LONG])
def test_the_preview_is_a_png_with_a_panel_a_step(tmp_path: Path, shape, steps):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32) * 4095
    out = draw(pipeline(*steps).trace(Picture(pixels, 0, 4095)), "an image", tmp_path / "new" / "preview.png")
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.width >= 320 * min(len(steps) + 2, 4)


def test_an_image_of_one_value_can_be_previewed(tmp_path: Path):
    picture = Picture(np.full((9, 9, 1), 3, np.float32), 3, 3)
    assert draw(pipeline(*LONG).trace(picture), "flat", tmp_path / "flat.png").stat().st_size > 1000


def test_an_image_file_goes_through_the_configured_steps(tmp_path: Path):
    Image.fromarray(np.arange(30 * 20, dtype=np.uint8).reshape(30, 20)).save(tmp_path / "case.png")
    written = config.load("configs/demo.yaml", ["preprocess=[{step: gaussian, sigma: 2}, {step: resize, size: 16}]"])
    assert preview(ImageFile(tmp_path / "case.png"), written, tmp_path / "steps.png").exists()
    with pytest.raises(ImageError, match="no such file"):
        preview(ImageFile(tmp_path / "gone.png"), written, tmp_path / "steps.png")


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match=r"file/preview\.png: cannot be written"):
        draw(pipeline().trace(Picture(np.zeros((4, 4, 1), np.float32), 0, 1)), "x", tmp_path / "file" / "preview.png")


def test_the_image_itself_is_not_written_over(tmp_path: Path):
    image = tmp_path / "x.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    before = image.read_bytes()
    with pytest.raises(DataError, match="is the image itself"):
        preview(ImageFile(image), config.load("configs/demo.yaml"), image)
    assert image.read_bytes() == before
