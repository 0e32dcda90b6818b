"""A person's key: a file of Ed25519, PEM, readable by its owner alone, where wanted under a passphrase.

A passphrase is asked at the terminal; it is never an argument, and never in the environment.
"""

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.memory_guard import shut_memory
from common.cli import terminal
from common.errors import AccessError
from common.storage.files import write_secret
from common.trust.documents import fingerprint
from common.trust.keys import public_of, sign
from common.trust.statements import StatementKind, statement

ENVIRONMENT = "CONSILIUM_PERSON"
OWN_FILE = "me.key"
MOST_BYTES = 10_000
SHORTEST = 8
"""A passphrase of fewer letters is none."""


@dataclass(frozen=True)
class PersonKey:
    """A person's key, opened."""

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> str:
        """64 hexadecimal digits, as the policy has them."""
        return public_of(self.private).hex()

    @property
    def fingerprint(self) -> str:
        """Of the public half, to compare."""
        return fingerprint(public_of(self.private))

    def sign(self, kind: StatementKind, content: Mapping[str, Any], before: bytes = b"") -> bytes:
        """Sign a statement (`client.access.command_request.Signer`)."""
        return sign(self.private, statement(kind, content))


def make(path: Path, passphrase: str | None = None) -> PersonKey:
    """A new key in a file.

    Raises:
        ConfigError: if the file exists.
    """
    shut_memory()
    key = Ed25519PrivateKey.generate()
    how = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    write_secret(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    return PersonKey(key)


def path_of(key_file: Path | None, folder: Path | None) -> Path:
    """Which file holds the key of whoever gives a command: `--as`, else the environment, else the site's own, in whose
    folder one works; else one's own, in one's home."""
    if key_file is not None:
        return key_file
    from_environment = os.environ.get(ENVIRONMENT)
    if from_environment:
        return Path(from_environment)
    return folder / OWN_FILE if folder else Path.home() / ".consilium" / OWN_FILE


def open_key(path: Path, passphrase: Callable[[Path], bytes] | None = None) -> PersonKey:
    """The key in a file.

    Args:
        passphrase: asked for it, where the key is under one; None: at the terminal.

    Raises:
        AccessError: there is none, others can read it, or the passphrase is not its.
    """
    try:
        with path.open("rb") as file:
            loose, content = os.fstat(file.fileno()).st_mode & 0o077, file.read(MOST_BYTES)
    except OSError as error:
        raise AccessError(
            f"{path}: {error.strerror}; expected the key of the person who gives this command. Name its file with "
            f"--as FILE, or in {ENVIRONMENT}; `python -m client access person NAME` makes one."
        ) from None
    if loose:
        raise AccessError(
            f"{path}: others can read it, and a person's key is one person's. chmod 600 {terminal.word(path)}"
        )
    shut_memory()
    try:
        key = serialization.load_pem_private_key(
            content, (passphrase or _passphrase)(path) if b"ENCRYPTED" in content else None
        )
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise AccessError(
            f"{path}: no key of a person, or not its passphrase. `python -m client access person` writes one."
        )
    return PersonKey(key)


def new_passphrase() -> str:
    """A new passphrase, asked twice at the terminal.

    Raises:
        AccessError: without a terminal, or they differ, or it is too short.
    """
    _refuse_without_terminal("a new passphrase")
    first = getpass.getpass("New passphrase: ")
    if len(first) < SHORTEST or first != getpass.getpass("Again: "):
        raise AccessError(f"no passphrase: expected {SHORTEST} letters at least, twice the same. Nothing was made.")
    return first


def _passphrase(path: Path) -> bytes:
    _refuse_without_terminal(f"the passphrase of {path}")
    return getpass.getpass(f"Passphrase of {path}: ").encode()


def _refuse_without_terminal(what: str) -> None:
    if not sys.stdin.isatty():
        raise AccessError(f"{what} is asked at a terminal, and there is none. For a service, use a key without one.")
