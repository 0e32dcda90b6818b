"""The file of a root key: made on any machine, sealed under a passphrase, opened for one command at a time.

A sealed file is JSON: the public half, a salt, and the private half under ChaCha20-Poly1305 with a key that scrypt (RFC
7914) makes of the passphrase. A file in the clear is 64 hexadecimal digits, as releases before 0.3 wrote it.
"""

import getpass
import json
import os
import secrets
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from common.cli import terminal
from common.errors import ConfigError, IdentityError
from common.storage import tensorfile
from common.storage.files import replace, write_secret
from common.trust.documents import read_document, sign_document
from common.trust.keys import KEY_BYTES, open_once, public_of, seal_once

PASSPHRASE_FILE = "CONSILIUM_ROOT_PASSPHRASE_FILE"  # noqa: S105 the name of a variable
"""The environment variable that names a file with the passphrase; the passphrase itself is never an argument."""
LEAST_CHARACTERS = 12
SALT_BYTES = 16
# 128 MiB and a third of a second for each guess.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1
_CONTEXT = b"consilium root key, scrypt 2^17 8 1"


def make(path: Path, passphrase: str | None) -> Ed25519PrivateKey:
    """Make a root key, and its public half beside it.

    Args:
        path: the new file; the public half goes to the same name with `.pub`.
        passphrase: None: in the clear.

    Raises:
        ConfigError: there is a file of this name.
    """
    key = Ed25519PrivateKey.generate()
    write_secret(path, _encode(key, passphrase))
    tensorfile.write_atomically(
        path.with_suffix(".pub"), sign_document("root", {"root": public_of(key).hex()}, [key]).encode()
    )
    return key


def read_publics(paths: str) -> list[bytes]:
    """The public halves in files named with commas between them; a path may have commas of its own, where it is there.

    Raises:
        ConfigError: one cannot be read.
    """
    publics, parts = [], paths.split(",") if paths else []
    while parts:
        count = next((n for n in range(1, len(parts) + 1) if Path(",".join(parts[:n])).is_file()), 1)
        name, parts = ",".join(parts[:count]), parts[count:]
        if name:
            publics.append(read_public(Path(name)))
    return publics


def read_public(path: Path) -> bytes:
    """The public half, from the `.pub` file that `make` wrote; its owner had the private half.

    Raises:
        ConfigError: it cannot be read, or is none.
        WireError, IdentityError: it was changed.
    """
    try:
        document = read_document(path, "root")
        public = bytes.fromhex(str(document.content.get("root")))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected the .pub file that `server root new` wrote.") from None
    except ValueError:
        raise ConfigError(f"{path}: no root key in it; expected the .pub file that `server root new` wrote.") from None
    document.verify([public], f"the owner of {path.name}")
    return public


def load(path: Path) -> Ed25519PrivateKey:
    """The private key; a sealed one asks for its passphrase, one in the clear is warned of.

    Raises:
        ConfigError: the file cannot be read, or nobody can be asked for its passphrase.
        IdentityError: `wrong-passphrase`.
    """
    key, ciphertext = _open(path)
    if not ciphertext:
        print(
            f"warning: {path} lies in the clear: whoever copies it can sign. Seal it: python -m server root seal "
            f"{terminal.word(path)}",
            file=sys.stderr,
        )
    return key


def seal(path: Path) -> bool:
    """Put a root key under a new passphrase; whether it was under one before.

    Raises:
        ConfigError, IdentityError: as `load`, and for a passphrase that is too short or was typed differently.
    """
    key, was_sealed = _open(path)
    if was_sealed and os.environ.get(PASSPHRASE_FILE):
        raise ConfigError(
            f"{path}: is sealed already. To change its passphrase, unset {PASSPHRASE_FILE} and type both."
        )
    replace(path, _encode(key, new_passphrase(path)))
    return was_sealed


def new_passphrase(path: Path) -> str:
    """A passphrase for a new key: from the file that the environment names, or typed twice.

    Raises:
        ConfigError: there is neither file nor terminal, it is too short, or the second was another.
    """
    passphrase = _from_file()
    if passphrase is None:
        passphrase = _ask(f"New passphrase for {path}: ", path)
        if passphrase != _ask("The same again: ", path):
            raise ConfigError("the two passphrases differ, so nothing was made. Give the command again.")
    if len(passphrase) < LEAST_CHARACTERS:
        raise ConfigError(
            f"a passphrase of {len(passphrase)} characters, expected {LEAST_CHARACTERS} at least: five random words, "
            "for example."
        )
    return passphrase


def _encode(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    secret = key.private_bytes_raw()
    if passphrase is None:
        return secret.hex().encode()
    salt, public = secrets.token_bytes(SALT_BYTES), public_of(key)
    ciphertext = seal_once(_sealing_key(passphrase, salt), secret, _CONTEXT + public)
    fields = {"root": public.hex(), "salt": salt.hex(), "sealed": ciphertext.hex()}
    return (json.dumps(fields, indent=1) + "\n").encode()


def _open(path: Path) -> tuple[Ed25519PrivateKey, bool]:
    try:
        text = path.read_text(encoding="utf-8").strip()
        if not text.startswith("{"):
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text)), False
        fields = json.loads(text)
        public, salt, ciphertext = (bytes.fromhex(fields[name]) for name in ("root", "salt", "sealed"))
        if len(public) != KEY_BYTES or len(salt) != SALT_BYTES:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = error.strerror if isinstance(error, OSError) else "expected a root key, sealed or 64 hexadecimal digits"
        raise ConfigError(f"{path}: {what}. It signs rosters and plans; name its file with --root.") from None
    passphrase = _from_file()
    if passphrase is None:
        passphrase = _ask(f"Passphrase of {path}: ", path)
    try:
        secret = open_once(
            _sealing_key(passphrase, salt), ciphertext, _CONTEXT + public, who=str(path), what="root key"
        )
    except IdentityError:
        raise IdentityError(
            "wrong-passphrase", f"{path}: not with this passphrase, or the file was changed. Nothing was signed."
        ) from None
    return Ed25519PrivateKey.from_private_bytes(secret), True


def _sealing_key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase.encode())


def _from_file() -> str | None:
    """The passphrase in the file that the environment names, without the end of its line; None: it names none."""
    name = os.environ.get(PASSPHRASE_FILE)
    try:
        return Path(name).read_text(encoding="utf-8").rstrip("\r\n") if name else None
    except (OSError, UnicodeError):
        raise ConfigError(f"{PASSPHRASE_FILE}: {name} cannot be read; expected a file with the passphrase.") from None


def _ask(question: str, path: Path) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{path}: wants a passphrase, and there is no terminal to ask at. Name a file that holds it with "
            f"{PASSPHRASE_FILE}; for a new key that is to lie in the clear, say --no-passphrase."
        )
    return getpass.getpass(question)
