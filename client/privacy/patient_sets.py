"""Over whom a question is: the patients of one part of a data set, as digests that tell nobody who they are.

    privacy/key                 what the digests are made with; new keys of the site leave it as it is
    privacy/patients/VERSION    16 bytes for each patient and for each of their images, sorted; VERSION is their digest

A patient who gets another number, or whose images come under another data set's name, is found again by any image.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from common.errors import AuditError
from common.storage.files import replace
from common.trust.keys import DIGEST_BYTES, digest

UNIT_BYTES = 16
EVERYBODY = "everybody"
"""In the place of a version: of answers of which it is not known over whom they were."""


@dataclass(frozen=True)
class PatientSet:
    """Those whom a question is over."""

    version: str
    """32 hexadecimal digits: a patient or an image more, less or other makes another."""
    patients: int
    """How many."""
    most_images: int
    """Of one patient."""
    units: Mapping[bytes, int]
    """By the digest of each patient and each image, the number of the patient, from 0 on."""


@dataclass(frozen=True)
class PatientSets:
    """The sets that a site has ever answered over, in the folder of its account."""

    folder: Path

    def of(self, cases: Iterable[tuple[str, str]]) -> PatientSet:
        """The set of some cases; nothing is written yet.

        Args:
            cases: of each, whom it shows, and the digest of its image.

        Raises:
            AuditError: the key is damaged.
        """
        key, numbers, units = self._key(), dict[str, int](), dict[bytes, int]()
        images = dict[int, int]()
        for person, image in cases:
            number = numbers.setdefault(person, len(numbers))
            images[number] = images.get(number, 0) + 1
            units[_unit("patient", key, person)] = number
            units[_unit("image", key, image)] = number
        version = digest("patients", *sorted(units)).hex()[:32]
        return PatientSet(version, len(numbers), max(images.values(), default=0), units)

    def keep(self, patients: PatientSet) -> None:
        """Write a set down, before the first answer over it."""
        path = self._path(patients.version)
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(path, b"".join(sorted(patients.units)))

    def units(self, version: str) -> frozenset[bytes]:
        """The digests of a set that was kept.

        Raises:
            AuditError: it is gone, or another.
        """
        return _units(self._path(version))

    def load(self, version: str) -> PatientSet:
        """A set that was kept; who is whose patient is not, so each of its digests stands for itself.

        Raises:
            AuditError: it is gone, or another.
        """
        units = self.units(version)
        return PatientSet(version, len(units), 1, {unit: number for number, unit in enumerate(units)})

    def has(self, version: str) -> bool:
        """Whether it is known here who is in a set."""
        return self._path(version).exists()

    def _path(self, version: str) -> Path:
        return self.folder / "patients" / version

    def _key(self) -> bytes:
        path = self.folder / "key"
        if not path.exists():
            if (self.folder / "ledger").exists():
                raise AuditError(f"{path}: is gone, and the account is there. Restore the folder from a backup.")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(path, os.urandom(DIGEST_BYTES))
        if len(key := path.read_bytes()) != DIGEST_BYTES:
            raise AuditError(f"{path}: damaged, expected {DIGEST_BYTES} bytes. Restore it from a backup.")
        return key


def _unit(kind: str, key: bytes, name: str) -> bytes:
    return digest(kind, key, name.encode())[:UNIT_BYTES]


@lru_cache(maxsize=32)
def _units(path: Path) -> frozenset[bytes]:
    """Read once: a file of this name is never another."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    units = [content[at : at + UNIT_BYTES] for at in range(0, len(content), UNIT_BYTES)]
    if digest("patients", *units).hex()[:32] != path.name:
        raise AuditError(f"{path}: is not the set of patients that was written there. Restore it from a backup.")
    return frozenset(units)
