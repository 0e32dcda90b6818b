"""The command `preview` of `python -m client`."""

import argparse
from pathlib import Path

from client.home import Home
from client.readers.source import ImageFile, ImageSource
from common import config as configuration
from common.cli.command import Command
from common.config import Config, Encrypted

PREVIEW = """Write a PNG of one image as read and after every step of a configuration's preprocessing.

  python -m client preview chest.dcm --config configs/pneumonia.yaml --out chest.png

Each panel says the step, the size, and the range of values. Where a configuration normalises by federated statistics,
which one image does not have, the image's own stand in."""


def _preview_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a DICOM, PNG, JPEG or TIFF file; NAME/17 of an encrypted set")
    parser.add_argument("--config", required=True, metavar="C", help="whose preprocessing to show")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="of a file with several, from 0 (default: the middle one)"
    )
    parser.add_argument("--out", type=Path, metavar="P", help="the PNG to write (default: preview.png)")


def _image(name: str | Path, config: Config, home: Home | None) -> ImageSource:
    """A file, or what an encrypted data set calls an image."""
    path = name if isinstance(name, Path) else Path(name)
    if not isinstance(config.data, Encrypted) or path.exists():
        return ImageFile(path)
    from client.custody import encrypted_cases

    return encrypted_cases.origin(config.data, str(name), home)


def _preview(options: argparse.Namespace) -> int:
    from client.dataset.preview import preview
    from client.readers import Frames

    config = configuration.load(options.config)
    frame: Frames = "middle" if options.frame is None else options.frame
    out = preview(_image(options.image, config, options.here), config, options.out or Path("preview.png"), frame)
    print(f"Written to {out}.")
    return 0


DECODED_STAYS = "images decoded so far are kept, and the same command goes on from them."
"""What a command that decodes images says after Ctrl-C."""

COMMANDS = {"preview": Command(PREVIEW, _preview_arguments, _preview, DECODED_STAYS)}
