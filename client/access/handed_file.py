"""A file as it is handed in at a site's door: its content in memory, sealed, so that nobody can change it any more."""

import fcntl
import hashlib
import os

from common.errors import AccessError

MOST_BYTES = 4 << 30
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
PIECE_BYTES = 1 << 20


def hold(content: bytes) -> tuple[int, str]:
    """A descriptor of a sealed copy, and its SHA-256."""
    handle = os.memfd_create("consilium", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(content)
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, SEALS)
    return handle, hashlib.sha256(content).hexdigest()


def demand_sealed(handle: int) -> None:
    """Refuse what could still be changed.

    Raises:
        AccessError: it could.
    """
    try:
        is_sealed = fcntl.fcntl(handle, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:
        is_sealed = False
    if not is_sealed:
        raise AccessError("a file that was handed in could be changed after it was signed.")


def demand(handle: int, digest: str) -> None:
    """Refuse what is not what was signed.

    Raises:
        AccessError: it is another content, or could still be changed.
    """
    demand_sealed(handle)
    if content_digest(handle) != digest:
        raise AccessError("a file that was handed in is not the one that was signed.")


def content_digest(handle: int) -> str:
    """SHA-256 of all of it, wherever the descriptor stands."""
    state, at = hashlib.sha256(), 0
    while piece := os.pread(handle, PIECE_BYTES, at):
        state.update(piece)
        at += len(piece)
    return state.hexdigest()


def content_of(handle: int) -> bytes:
    """All of a sealed file."""
    demand_sealed(handle)
    with os.fdopen(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY), "rb") as file:
        return file.read()
