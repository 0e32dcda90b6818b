"""What sites say that their patients have paid: kept for them, and handed to all others (`common.audit`).

accounts/NAME.json    the newest word of a site, which is never replaced by one that says less
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.audit.account_statement import AccountStatement
from common.errors import AuditError
from common.storage import file_lock
from common.storage.files import read_json, write_json
from server.consortium.home import Home


@dataclass(frozen=True)
class SiteAccounts:
    """The words of all sites, in the coordinator's folder."""

    home: Home

    def take(self, site: str, file: bytes) -> None:
        """Keep a site's word; it is on the disk when this returns.

        Raises:
            WireError, IdentityError: it is none of this site's.
            AuditError: it says less than one before: the site's account was set back.
        """
        new = AccountStatement.load_verified(file, self.home.identities()[site], site)
        with file_lock.hold(self._folder / ".lock"):
            before = self.of(site)
            if before and new.is_behind(before.total):
                raise AuditError(
                    f"{site}: its word on its account says less than one before: the account was set back. Nothing may "
                    "leave under a budget until it knows again what was paid."
                )
            write_json(self._folder / f"{site}.json", new.document.to_json())

    def of(self, site: str) -> AccountStatement | None:
        """A site's newest word; it was verified when it came."""
        path = self._folder / f"{site}.json"
        return AccountStatement.of_file(path.read_bytes()) if path.exists() else None

    def newest(self) -> dict[str, Any]:
        """The newest words, by site, as they are handed on."""
        return {path.stem: read_json(path) for path in sorted(self._folder.glob("*.json"))}

    @property
    def _folder(self) -> Path:
        return self.home.folder / "accounts"
