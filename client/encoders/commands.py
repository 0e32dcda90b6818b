"""The command `encoders` of `python -m client`."""

import argparse
from pathlib import Path

from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.encoders import Encoder, encoder_library, read_encoder
from common.errors import ConfigError

ENCODERS = """Pretrained encoders on this machine: networks that turn an image into a few hundred numbers, which a data
set of a hospital's size can learn from.

  python -m client encoders                             those that are here
  python -m client encoders add FILE                    keep one here; nothing in it is executed
  python -m client encoders show efficientnet-lite0     licence, source, what it was trained on, its layers

A configuration names one in its preprocessing: {step: embed, encoder: NAME}. A plan names the SHA-256 of its file, and
a site that lacks it says so. Nothing is fetched by itself: take the file from whom you trust. docs/encoders.md tells
more, and how to make one."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["add", "show"], help="what to do (default: list them)")
    parser.add_argument("what", nargs="?", metavar="FILE|NAME", help="add: a file; show: a name or a SHA-256")


def _run(options: argparse.Namespace) -> int:
    if options.action and not options.what:
        raise ConfigError(f"encoders {options.action}: expected {'a FILE' if options.action == 'add' else 'a NAME'}.")
    if options.action == "add":
        encoder = read_encoder(Path(options.what))
        print(describe(encoder))
        print(f"Kept in {encoder_library.add(encoder)}.")
    elif options.action == "show":
        is_digest = len(options.what) == 64
        print(describe(encoder_library.load(options.what) if is_digest else encoder_library.find(options.what)))
    else:
        _list()
    return 0


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
