"""The encoders that this machine has: files under the digest of their content, in one folder of an account.

The folder is `~/.consilium/encoders`, or the one that CONSILIUM_ENCODERS names (for a service without a home folder).
"""

from functools import lru_cache
from pathlib import Path

from common.encoders.encoder_file import SUFFIX, Encoder, read_encoder
from common.errors import EncoderError
from common.storage.digest_library import DigestLibrary
from common.storage.tensorfile import write_atomically

HOW = "Add its file, python -m client encoders add FILE, or take it from the catalogue: docs/encoders.md."


_LIBRARY = DigestLibrary("encoders", SUFFIX, EncoderError)
VARIABLE, folder, digests = _LIBRARY.variable, _LIBRARY.folder, _LIBRARY.digests


def add(encoder: Encoder) -> Path:
    """Keep an encoder under its digest; adding it again changes nothing."""
    path = _LIBRARY.path(encoder.sha256)
    if not path.exists():
        write_atomically(path, encoder.content)
    return path


def read_all() -> tuple[list[Encoder], list[EncoderError]]:
    """All that are here, and why others cannot be used: a damaged file takes no other with it."""
    encoders, faults = list[Encoder](), list[EncoderError]()
    for sha256 in digests():
        try:
            encoders.append(load(sha256))
        except EncoderError as error:
            faults.append(error)
    return encoders, faults


def load(sha256: str) -> Encoder:
    """The encoder of a digest.

    Raises:
        EncoderError: it is not here, or its file was changed.
    """
    return _load(_LIBRARY.path(sha256), sha256)


def find(name: str) -> Encoder:
    """The encoder of a name.

    Raises:
        EncoderError: there is none, or there are several.
    """
    here, faults = read_all()
    namesakes = [encoder for encoder in here if encoder.about.name == name]
    if not namesakes:
        names = ", ".join(sorted({encoder.about.name for encoder in here})) or "none yet"
        damaged = "".join(f" Cannot be used: {fault}" for fault in faults)
        raise EncoderError(f"encoder {name} is not on this machine; there are: {names}. {HOW}{damaged}")
    if len(namesakes) > 1:
        choices = ", ".join(encoder.sha256 for encoder in namesakes)
        raise EncoderError(f"{len(namesakes)} encoders are called {name}; say which with sha256: {choices}.")
    return namesakes[0]


@lru_cache(maxsize=4)
def _load(path: Path, sha256: str) -> Encoder:
    if not path.exists():
        raise EncoderError(f"the encoder with SHA-256 {sha256} is not on this machine. {HOW}")
    encoder = read_encoder(path)
    if encoder.sha256 != sha256:
        raise EncoderError(f"{path}: was changed: its SHA-256 is {encoder.sha256}. Remove the file, and add it anew.")
    return encoder
