"""The command `encoders` of `python -m client`."""

import argparse
from pathlib import Path

from pydantic import ValidationError

from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.config import first_fault, parse_yaml
from common.encoders import Encoder, EncoderAbout, encoder_library, read_encoder
from common.encoders.encoder_file import TRUST
from common.errors import ConfigError, EncoderError

ENCODERS = """Pretrained encoders on this machine: networks that turn an image into a few hundred numbers, which a data
set of a hospital's size can learn from.

  python -m client encoders                             those that are here
  python -m client encoders add FILE                    keep one here; nothing in it is executed
  python -m client encoders add FILE.keras --about ABOUT.yaml    one made from a Keras model
  python -m client encoders show efficientnet-lite0     licence, source, what it was trained on, its layers

A configuration names one in its preprocessing: {step: embed, encoder: NAME}. A plan names the SHA-256 of its file, and
a site that lacks it says so. Nothing is fetched by itself: take the file from whom you trust. docs/encoders.md tells
more, and how to make one."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["add", "show"], help="what to do (default: list them)")
    parser.add_argument("what", nargs="?", metavar="FILE|NAME", help="add: a file; show: a name or a SHA-256")
    parser.add_argument("--about", type=Path, metavar="FILE", help="add FILE.keras: what is to be said of it, YAML")


def _run(options: argparse.Namespace) -> int:
    if options.action and not options.what:
        raise ConfigError(f"encoders {options.action}: expected {'a FILE' if options.action == 'add' else 'a NAME'}.")
    if options.action == "add":
        encoder = _read(Path(options.what), options.about)
        print(describe(encoder))
        print(f"Kept in {encoder_library.add(encoder)}.")
        terminal.console().print(TRUST, highlight=False)
    elif options.action == "show":
        is_digest = len(options.what) == 64
        print(describe(encoder_library.load(options.what) if is_digest else encoder_library.find(options.what)))
    else:
        return _list()
    return 0


def _read(path: Path, about: Path | None) -> Encoder:
    if path.suffix != ".keras":
        return read_encoder(path)
    from common.encoders import keras_file  # and HDF5's library with it

    if about is None:
        raise ConfigError(f"encoders add {path}: expected --about FILE, which describes it: docs/encoders.md has one.")
    try:
        tree = parse_yaml(about.read_text(encoding="utf-8"), about)
        return keras_file.read_keras(path, EncoderAbout.model_validate(tree))
    except ValidationError as error:
        raise EncoderError(f"{about}: {first_fault(error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{about}: cannot be read ({error}).") from None


def _list() -> int:
    """All that are here, then those that cannot be used, each with its file; 1 if there are such."""
    encoders, faults = encoder_library.read_all()
    if not encoders and not faults:
        print(f"No encoder in {encoder_library.folder()} yet. {encoder_library.HOW}")
    if encoders:
        sheet = Sheet("encoder", "licence", "SHA-256")
        for encoder in encoders:
            sheet.add(encoder.about.name, encoder.about.licence, encoder.sha256)
        terminal.console().print(sheet)
    for fault in faults:
        print(f"Cannot be used: {fault}")
    return 1 if faults else 0


def describe(encoder: Encoder) -> str:
    """What there is to know of an encoder before it is used, a line each."""
    about = encoder.about
    return "\n".join([
        f"{about.name}, {len(encoder.content) / 1e6:.1f} MB, SHA-256 {encoder.sha256}",
        f"  licence     {about.licence}",
        f"  source      {about.source}",
        f"  trained on  {about.trained_on}",
        f"  images      {about.size}×{about.size}, red, green and blue",
        f"  layers      {about.all_layers}",
    ])  # fmt: skip


COMMANDS = {"encoders": Command(ENCODERS, _arguments, _run)}
