"""The command `encoders` of `python -m client`."""

import argparse
from pathlib import Path

from pydantic import ValidationError

from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.config import first_fault, parse_yaml
from common.encoders import Encoder, EncoderAbout, encoder_library, read_encoder
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
    elif options.action == "show":
        is_digest = len(options.what) == 64
        print(describe(encoder_library.load(options.what) if is_digest else encoder_library.find(options.what)))
    else:
        _list()
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


def _list() -> None:
    digests = encoder_library.digests()
    if not digests:
        print(f"No encoder in {encoder_library.folder()} yet. {encoder_library.HOW}")
        return
    sheet = Sheet("encoder", "licence", "SHA-256")
    for about, sha256 in ((encoder_library.load(sha256).about, sha256) for sha256 in digests):
        sheet.add(about.name, about.licence, sha256)
    terminal.console().print(sheet)


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


COMMANDS = {"encoders": Command("pretrained encoders on this machine", ENCODERS, _arguments, _run)}
