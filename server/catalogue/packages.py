"""The files of the models and encoders in the catalogue: how they come in pieces, are kept by their SHA-256, and go.

packages/SHA256       those that are offered
incoming/SITE/        one that a site is just sending
"""

import hashlib
import os
import shutil
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from common.catalogue import FileOffer
from common.errors import CatalogueError
from common.storage import tensorfile
from common.storage.run_folder import lock_folder

MOST_PACKAGE = 512 * 2**20
SPARE = 2**30
"""Bytes that packages leave free on the disk, which runs need."""


@dataclass(frozen=True)
class Packages:
    """The packages in a catalogue's folder."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Where a package is, if it is."""
        return self.folder / "packages" / sha256

    def deposit(self, site: str, sha256: str, offset: int, data: bytes) -> int:
        """The next bytes of a package that a site will offer; how many are here then.

        A site sends one at a time. Of what does not begin where the last piece ended, nothing is taken.

        Raises:
            CatalogueError: it is too long, or the disk is nearly full.
            RunError: it is just being taken.
        """
        folder = self._incoming(site)
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < SPARE + len(data):
            raise CatalogueError("the coordinator's disk is nearly full, and takes no packages. Tell the coordinator.")
        with self._at_hand(folder):
            marked, path = folder / "sha256", folder / "package"
            if not marked.exists() or marked.read_text(encoding="utf-8") != sha256:
                path.unlink(missing_ok=True)
                tensorfile.write_atomically(marked, sha256.encode())
            there = path.stat().st_size if path.exists() else 0
            if offset != there or not data:
                return there
            if there + len(data) > MOST_PACKAGE:
                raise CatalogueError(
                    f"the package has more than {MOST_PACKAGE:,} bytes, which is the most there may be."
                )
            with tensorfile.naming(path), path.open("ab") as file:
                file.write(data)
            return there + len(data)

    def settle(self, owner: str, offer: FileOffer, address: str, package: bytes) -> None:
        """A package in its place, if it is the one that its entry names.

        Args:
            package: the coordinator's own; a site has sent its before.

        Raises:
            CatalogueError: it is not, or not whole.
        """
        if (path := self.path(offer.sha256)).exists():
            if path.stat().st_size != offer.size:
                raise CatalogueError(f"{address}: its package is not of the size that its entry names.")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if package:
            tensorfile.write_atomically(path, package)
            return
        incoming = self._incoming(owner) / "package"
        if not (owner and incoming.exists()):
            raise CatalogueError(f"{address}: its package has not come, or not whole. Offer it again.")
        with self._at_hand(incoming.parent):
            if incoming.stat().st_size != offer.size:
                raise CatalogueError(f"{address}: its package has not come, or not whole. Offer it again.")
            with incoming.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            if digest == offer.sha256:
                incoming.rename(path)
            shutil.rmtree(incoming.parent)
        if digest != offer.sha256:
            raise CatalogueError(f"{address}: its package came damaged. Offer it again.")

    def forget(self, digests: Collection[str]) -> None:
        """Remove the packages that nobody offers any more."""
        for path in self.path("").glob("*"):
            if path.name not in digests:
                path.unlink()

    def _incoming(self, site: str) -> Path:
        return self.folder / "incoming" / site

    def _at_hand(self, folder: Path) -> AbstractContextManager[None]:
        """Nothing is added to a package while it is compared with its entry."""
        return lock_folder(folder, "a piece of this package is just being taken, or all of it compared. Try again.")
