"""The proof of a withdrawal: an entry of the site's log, and for each patient a code that shows the entry is theirs.

The entry, which the officer's key and the log's head sign, has one digest over all commitments; a commitment is SHA-256
over a patient's code, 16 random bytes, and their number. Who has the receipt, and a copy of the log (`audit export`),
checks both without this program (docs/withdrawal.md). Without its code a commitment tells nobody whom it is of.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError
from common.storage.files import write_secret

CODE_BYTES = 16


class Receipt:
    """Codes of the patients who withdraw with one command."""

    def __init__(self, numbers: Sequence[str]) -> None:
        self._numbers = [number.strip() for number in numbers]
        self._codes = [secrets.token_hex(CODE_BYTES) for _ in numbers]

    @property
    def commitments(self) -> list[str]:
        """Of each patient, in an order that tells nothing."""
        return sorted(
            hashlib.sha256(bytes.fromhex(code) + number.encode()).hexdigest()
            for code, number in zip(self._codes, self._numbers, strict=True)
        )

    @property
    def digest(self) -> str:
        """What the log's entry has."""
        return hashlib.sha256("".join(self.commitments).encode()).hexdigest()

    def write(self, path: Path, site: str, at_s: float, datasets: dict[str, dict[str, str | int]]) -> None:
        """Write the receipt: it has the patients' numbers, and belongs to the hospital's letter to each.

        Raises:
            ConfigError: the file exists.
        """
        patients = [{"patient": n, "code": code} for n, code in zip(self._numbers, self._codes, strict=True)]
        content = {"site": site, "at_s": at_s, "datasets": datasets, "digest": self.digest}
        content |= {"commitments": self.commitments, "patients": patients}
        write_secret(path, (json.dumps(content, indent=1) + "\n").encode())


def refuse_inside(path: Path, folder: Path, what: str) -> None:
    """Refuse a file with patients' numbers in the site's folder, which is backed up.

    Raises:
        ConfigError: it is there.
    """
    if path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{path}: is in the site's folder, and so in its backups; {what} belongs elsewhere.")
