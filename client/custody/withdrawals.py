"""Who withdrew from a data set: by a keyed digest, so that the next import does not bring them back.

HOME/custody/withdrawn/SET      JSON: of each patient the keyed digest, and those of the files that were taken out

Without the data set's keys nobody can tell whom a digest stands for. It is what keeps a withdrawal, so it stays.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.sealing import subkey
from common.storage.files import read_json, replace


class Withdrawals:
    """The withdrawals from one data set, as they were when this was made."""

    def __init__(self, store: EncryptedDataset) -> None:
        self._path: Path = store.custody.folder / "withdrawn" / store.wraps.set
        self._key = subkey(store.secrets.pseudonyms, "withdrawn")
        self._sources: dict[str, list[str]] = read_json(self._path) or {}
        self._files = {source for sources in self._sources.values() for source in sources}

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, pseudonym: str) -> bool:
        return self._mark(pseudonym) in self._sources

    def bar(self, pseudonym: str | None, source: str) -> bool:
        """Whether an image must stay out: its patient withdrew, or it is one of those that were taken out then."""
        return source in self._files or (pseudonym is not None and pseudonym in self)

    def sources(self, pseudonym: str) -> Collection[str]:
        """Digests of the files of a patient that were taken out."""
        return self._sources.get(self._mark(pseudonym), ())

    def add(self, sources: Mapping[str, Collection[str]]) -> None:
        """Write down that patients withdraw, by pseudonym, each with the digests of their files. Durable on return."""
        for pseudonym, files in sources.items():
            mark = self._mark(pseudonym)
            self._sources[mark] = sorted({*self._sources.get(mark, ()), *files})
        self._write()

    def lift(self, pseudonyms: Collection[str]) -> int:
        """Let patients in again; of how many this was said before."""
        marks = {mark for mark in map(self._mark, pseudonyms) if mark in self._sources}
        self._sources = {mark: sources for mark, sources in self._sources.items() if mark not in marks}
        self._write()
        return len(marks)

    def _write(self) -> None:
        self._files = {source for sources in self._sources.values() for source in sources}
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        replace(self._path, json.dumps(self._sources, indent=0, sort_keys=True).encode())

    def _mark(self, pseudonym: str) -> str:
        return hashlib.blake2b(pseudonym.encode(), key=self._key, digest_size=16).hexdigest()
