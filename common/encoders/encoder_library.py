"""The encoders that this machine has: files under the digest of their content, in one folder of an account.

The folder is `~/.consilium/encoders`, or the one that CONSILIUM_ENCODERS names (for a service without a home folder).
"""

import os
from functools import lru_cache
from pathlib import Path

from common.encoders.encoder_file import SUFFIX, Encoder, read_encoder
from common.errors import EncoderError
from common.storage.tensorfile import write_atomically

VARIABLE = "CONSILIUM_ENCODERS"
FOLDER = Path("~/.consilium/encoders")
HOW = "Add its file, python -m client encoders add FILE, or take it from the catalogue: docs/encoders.md."


def folder() -> Path:
    """Where they lie.

    Raises:
        EncoderError: this account has no home folder, and the variable names none.
    """
    try:
        return Path(os.environ.get(VARIABLE) or FOLDER).expanduser()
    except RuntimeError:
        raise EncoderError(f"this account has no home folder for encoders. Name one in {VARIABLE}.") from None


def add(encoder: Encoder) -> Path:
    """Keep an encoder under its digest; adding it again changes nothing."""
    path = folder() / f"{encoder.sha256}{SUFFIX}"
    if not path.exists():
        write_atomically(path, encoder.content)
    return path


def digests() -> list[str]:
    """Of all encoders here."""
    return sorted(path.name.removesuffix(SUFFIX) for path in folder().glob(f"*{SUFFIX}"))


def load(sha256: str) -> Encoder:
    """The encoder of a digest.

    Raises:
        EncoderError: it is not here, or its file was changed.
    """
    return _load(folder(), sha256)


def find(name: str) -> Encoder:
    """The encoder of a name.

    Raises:
        EncoderError: there is none, or there are several.
    """
    here = [load(sha256) for sha256 in digests()]
    named = [encoder for encoder in here if encoder.about.name == name]
    if not named:
        names = ", ".join(sorted({encoder.about.name for encoder in here})) or "none yet"
        raise EncoderError(f"encoder {name} is not on this machine; there are: {names}. {HOW}")
    if len(named) > 1:
        choices = ", ".join(encoder.sha256 for encoder in named)
        raise EncoderError(f"{len(named)} encoders are called {name}; say which with sha256: {choices}.")
    return named[0]


@lru_cache(maxsize=4)
def _load(where: Path, sha256: str) -> Encoder:
    path = where / f"{sha256}{SUFFIX}"
    if not path.exists():
        raise EncoderError(f"the encoder with SHA-256 {sha256} is not on this machine. {HOW}")
    encoder = read_encoder(path)
    if encoder.sha256 != sha256:
        raise EncoderError(f"{path}: was changed: its SHA-256 is {encoder.sha256}. Remove the file, and add it anew.")
    return encoder
