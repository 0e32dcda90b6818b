"""A site's custody keys: one wraps the keys of its data sets, one makes pseudonyms, and one for the worst day is away.

HOME/custody/keys            the site's own, for its owner alone: read when a data set is opened
HOME/custody/seen/SET        how far each data set had come, so that none can be set back unnoticed
HOME/sets/NAME/              the data sets

The recovery key is X25519; its private half is written once, to a file that is put away, and is never kept here.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import Field, ValidationError

from client.custody.sealing import KEY_BYTES
from client.home import Home
from common.cli import terminal
from common.config import Frozen
from common.errors import ConfigError, CustodyError
from common.storage.files import replace, write_secret
from common.storage.run_folder import lock_folder

RECOVERY_TEXT = """Consilium: the recovery key of site {site}, made on {date}.

With this key, and a copy of a data set, its images can be read without the site's own keys. Put it where a fire, a
theft or a broken disk that takes the machine does not take it as well; keep no copy on the machine.

recovery-key: {key}
"""


class KeyRing(Frozen):
    """A site's custody keys: the content of the file `custody/keys`."""

    newest: str
    wrapping: dict[str, str] = Field(repr=False)
    """Keys by name; several only while they are being changed."""
    pseudonyms: str = Field(repr=False)
    recovery: str
    """The public half of the recovery key."""


class DatasetNote(Frozen):
    """How far a data set had come when this site last looked."""

    name: str
    version: int
    index: str = ""
    """Digest of the index file."""
    destroyed: bool = False


@dataclass(frozen=True)
class Custody:
    """The keys of one site, and what it remembers of its data sets."""

    home: Home

    @property
    def folder(self) -> Path:
        """Where the keys are."""
        return self.home.folder / "custody"

    @property
    def sets(self) -> Path:
        """Where the data sets are."""
        return self.home.folder / "sets"

    @property
    def site(self) -> str:
        """To whom all of it belongs."""
        return self.home.site

    def begin(self, recovery: Path) -> None:
        """Make the keys, and write the private half of the recovery key to a file that is to be put away.

        Raises:
            ConfigError: there are keys already, or the file exists or is in the site's folder.
        """
        _ = self.site  # there is a site here
        if self._ring.exists():
            raise ConfigError(
                f"{self._ring}: this site has its custody keys already. New ones: python -m client custody rotate"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        public = self.new_recovery(recovery)
        name, key = new_key()
        self.keep(KeyRing(newest=name, wrapping={name: key}, pseudonyms=new_key()[1], recovery=public))

    def new_recovery(self, file: Path) -> str:
        """Make a recovery key, write its private half to a file, and give the public one.

        Raises:
            ConfigError: the file exists, or is in the site's folder.
        """
        if file.resolve().is_relative_to(self.home.folder.resolve()):
            raise ConfigError(f"{file}: is in the site's folder; the recovery key is for the day when that is lost.")
        private = X25519PrivateKey.generate()
        date = time.strftime("%Y-%m-%d", time.gmtime())
        text = RECOVERY_TEXT.format(site=self.site, date=date, key=private.private_bytes_raw().hex())
        write_secret(file, text.encode())
        return private.public_key().public_bytes_raw().hex()

    def ring(self) -> KeyRing:
        """The site's keys.

        Raises:
            ConfigError: there are none, others can read them, or the file is damaged.
        """
        try:
            with self._ring.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise ConfigError(f"{self._ring}: others can read this key. chmod 600 {terminal.word(self._ring)}")
                return KeyRing.model_validate_json(file.read())
        except FileNotFoundError:
            raise ConfigError(
                f"{self._ring}: this site has no custody keys. Make them, and a recovery key to put away: "
                "python -m client custody begin RECOVERY-FILE. If they were lost: python -m client custody recover."
            ) from None
        except ValidationError:
            raise ConfigError(
                f"{self._ring}: damaged. Restore it from a backup, or use the recovery key: "
                "python -m client custody recover."
            ) from None

    def keep(self, ring: KeyRing) -> None:
        """Replace the file of the site's keys."""
        # Where the file is a link to a safer place, the place is written, not the link.
        replace(self._ring.resolve(), (ring.model_dump_json(indent=1) + "\n").encode())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process makes or changes keys meanwhile.

        Raises:
            RunError: another one does.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_folder(self.folder, f"{self.folder}: another process is changing keys here. Wait for it."):
            yield

    # --- how far its data sets had come ---

    def note_of(self, identity: str) -> DatasetNote | None:
        """What is remembered of a data set; None: nothing.

        Raises:
            CustodyError: the note is damaged.
        """
        path = self._note(identity)
        try:
            return DatasetNote.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise CustodyError(
                f"{path}: damaged. Restore it from a backup, or take the data set as it is: "
                "python -m client custody adopt."
            ) from None

    def remember(self, identity: str, note: DatasetNote) -> None:
        """Remember how far a data set has come."""
        path = self._note(identity)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace(path, (note.model_dump_json(indent=1) + "\n").encode())

    def _note(self, identity: str) -> Path:
        return self.folder / "seen" / identity

    @property
    def _ring(self) -> Path:
        return self.folder / "keys"


def new_key() -> tuple[str, str]:
    """A name and a key, both hexadecimal."""
    return secrets.token_hex(4), secrets.token_hex(KEY_BYTES)


def read_recovery(file: Path) -> X25519PrivateKey:
    """The private key that `begin` wrote.

    Raises:
        ConfigError: there is none in this file.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        (key,) = [line.split(":")[1].strip() for line in lines if line.startswith("recovery-key:")]
        return X25519PrivateKey.from_private_bytes(bytes.fromhex(key))
    except (OSError, ValueError):
        raise ConfigError(f"{file}: expected a recovery key, as `python -m client custody begin` wrote it.") from None


def recovery_public(ring: KeyRing) -> X25519PublicKey:
    """For whom data keys are wrapped beside the site."""
    return X25519PublicKey.from_public_bytes(bytes.fromhex(ring.recovery))


def name_of(public: str) -> str:
    """A short name of a public key."""
    return hashlib.blake2b(bytes.fromhex(public), digest_size=4).hexdigest()
