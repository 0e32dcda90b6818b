"""The file `keys` of a data set: its own keys, wrapped for the site and for the recovery key (HPKE, RFC 9180).

The images are under the data key alone, so that changing the site's key writes this small file anew and no image, and
that without this file nobody reads the images. It is authenticated as a whole under the data key.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import Field, ValidationError

from client.custody import sealing
from client.custody.key_ring import Custody, KeyRing, name_of, recovery_public
from client.custody.sealing import KEY_BYTES, RESTORE, Place
from common.config import Frozen
from common.errors import CustodyError
from common.storage.files import flush_folder, replace

FORMAT = "consilium-custody-1"
FILE = "keys"
OLD_FILE = "keys.old"
"""Those before, while they are exchanged."""
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True)
class DatasetKeys:
    """What a data set is read and continued with."""

    data: bytes = field(repr=False)
    pseudonyms: bytes = field(repr=False)
    """The site's key of pseudonyms as it was when the set began: one patient keeps one pseudonym in it."""


class WrappedKeys(Frozen):
    """The content of a data set's file `keys`."""

    format: str = FORMAT
    site: str
    name: str
    set: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Random, 32 hexadecimal digits: the data set itself, whatever it is called."""
    key: str
    """Which of the site's keys opens `wrapped`."""
    wrapped: str
    recovery: str
    """Which recovery key opens `sealed`."""
    sealed: str
    mac: str = ""

    def place(self, *words: str) -> Place:
        """Where something of this data set belongs."""
        return (self.site, self.set, *words)


def begin(custody: Custody, name: str) -> tuple[WrappedKeys, DatasetKeys]:
    """Keys of a new data set."""
    ring = custody.ring()
    keys = DatasetKeys(secrets.token_bytes(KEY_BYTES), bytes.fromhex(ring.pseudonyms))
    return wrap(custody.site, name, secrets.token_hex(16), keys, ring), keys


def wrap(site: str, name: str, identity: str, keys: DatasetKeys, ring: KeyRing) -> WrappedKeys:
    """A data set's keys under the newest of the site's, and under the recovery key."""
    bare = WrappedKeys(site=site, name=name, set=identity, key="", wrapped="", recovery="", sealed="")
    content = keys.data + keys.pseudonyms
    key = bytes.fromhex(ring.wrapping[ring.newest])
    sealed_for_recovery = _HPKE.encrypt(content, recovery_public(ring), info=sealing.context(bare.place("recovery")))
    wraps = bare.model_copy(
        update={
            "key": ring.newest,
            "wrapped": sealing.seal(key, content, bare.place("keys")).hex(),
            "recovery": name_of(ring.recovery),
            "sealed": sealed_for_recovery.hex(),
        }
    )
    return wraps.model_copy(update={"mac": _mac(wraps, keys)})


def write(wraps: WrappedKeys, folder: Path) -> None:
    """Put the file in its place."""
    replace(folder / FILE, _encode(wraps))


def exchange(wraps: WrappedKeys, folder: Path) -> None:
    """Put other keys in the place of those that are there, and keep these until `destroy_old`."""
    (folder / OLD_FILE).unlink(missing_ok=True)
    os.link(folder / FILE, folder / OLD_FILE)
    write(wraps, folder)


def destroy_old(folder: Path) -> None:
    """Overwrite the keys before an exchange; where it did not come to one, the keys that are there stay."""
    path = folder / OLD_FILE
    if path.exists():
        if path.samefile(folder / FILE):
            path.unlink()
        else:
            overwrite_and_remove(path)


def overwrite_and_remove(path: Path) -> None:
    """Overwrite a small file and take its name away. Where a disk moves blocks about, older copies may stay."""
    with path.open("r+b", buffering=0) as file:
        file.write(bytes(path.stat().st_size))
        os.fsync(file.fileno())
    path.unlink()
    flush_folder(path.parent)


def read(folder: Path) -> WrappedKeys:
    """The file, not yet authenticated.

    Raises:
        CustodyError: it is not there, or is no such file.
    """
    path = folder / FILE
    try:
        return decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise CustodyError(f"{path}: is missing, and nothing opens the data set without it. {RESTORE}") from None


def decode(content: bytes, what: str) -> WrappedKeys:
    """The content of the file, not yet authenticated.

    Raises:
        CustodyError: it is no such file.
    """
    try:
        wraps = WrappedKeys.model_validate_json(content)
        if wraps.format != FORMAT or content != _encode(wraps):
            raise ValueError
        return wraps
    except (ValidationError, ValueError):
        raise CustodyError(f"{what}: is not what was stored. {RESTORE}") from None


def unwrap(wraps: WrappedKeys, custody: Custody, folder: Path) -> DatasetKeys:
    """The data set's keys, by the site's key.

    Raises:
        ConfigError: the site has no keys.
        CustodyError: another site's data set, another key's, or a changed file.
    """
    path = folder / FILE
    if wraps.site != custody.site or wraps.name != folder.name:
        raise CustodyError(
            f"{folder}: is data set '{wraps.name}' of site {wraps.site}, expected '{folder.name}' of {custody.site}. "
            "Call the folder by its own name, open it at its own site, or restore its file `keys` from a backup."
        )
    ring = custody.ring()
    if wraps.key not in ring.wrapping:
        raise CustodyError(
            f"{path}: is wrapped for key {wraps.key}, and this site has {', '.join(ring.wrapping)}. Restore "
            f"{custody.folder} from a backup, or use the recovery key: python -m client custody recover."
        )
    key = bytes.fromhex(ring.wrapping[wraps.key])
    try:
        content = sealing.unseal(key, bytes.fromhex(wraps.wrapped), wraps.place("keys"), str(path))
    except ValueError:
        raise CustodyError(f"{path}: is not what was stored. {RESTORE}") from None
    return _authentic(wraps, content, path)


def unwrap_by_recovery_key(wraps: WrappedKeys, key: X25519PrivateKey, folder: Path) -> DatasetKeys:
    """The data set's keys, by the recovery key.

    Raises:
        CustodyError: another recovery key's data set, or a changed file.
    """
    path = folder / FILE
    try:
        info = sealing.context(wraps.place("recovery"))
        return _authentic(wraps, _HPKE.decrypt(bytes.fromhex(wraps.sealed), key, info=info), path)
    except (InvalidTag, ValueError):
        public = name_of(key.public_key().public_bytes_raw().hex())
        raise CustodyError(
            f"{path}: does not open with recovery key {public}; it is wrapped for {wraps.recovery}, or was changed. "
            "Use that recovery key, or an older copy of this file."
        ) from None


def demand(wraps: WrappedKeys, keys: DatasetKeys, path: Path) -> None:
    """Check that a file was made by whoever has the keys in it.

    Raises:
        CustodyError: it was changed.
    """
    if not hmac.compare_digest(_mac(wraps, keys).encode(), wraps.mac.encode()):
        raise CustodyError(f"{path}: is not what was stored. {RESTORE}")


def _authentic(wraps: WrappedKeys, content: bytes, path: Path) -> DatasetKeys:
    keys = DatasetKeys(content[:KEY_BYTES], content[KEY_BYTES:])
    demand(wraps, keys, path)
    return keys


def _mac(wraps: WrappedKeys, keys: DatasetKeys) -> str:
    content = _encode(wraps.model_copy(update={"mac": ""}))
    return hashlib.blake2b(content, key=sealing.subkey(keys.data, "keys"), digest_size=32).hexdigest()


def _encode(wraps: WrappedKeys) -> bytes:
    return (wraps.model_dump_json(indent=1) + "\n").encode()
