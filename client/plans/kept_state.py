"""What a real site keeps of a run from round to round, sealed under its key; among it the layers that are its own."""

from pathlib import Path

from common.storage import tensorfile
from common.trust.keys import seal_state, unseal_state
from common.types import Tensors

FILE = "kept"


def write(room: Path, key: bytes, state: Tensors) -> None:
    """Replace what is kept in a run's folder."""
    tensorfile.write_atomically(room / FILE, seal_state(tensorfile.pack(state, {}), key))


def read(room: Path, key: bytes) -> Tensors:
    """What was kept last; empty before the first round.

    Raises:
        IdentityError: a damaged file, or another site's.
    """
    try:
        return tensorfile.unpack(unseal_state((room / FILE).read_bytes(), key))[0]
    except FileNotFoundError:
        return {}
