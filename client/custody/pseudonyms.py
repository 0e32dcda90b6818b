"""Names that stand for others, by a key that only the site has: the same for the same, and no way back without it."""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from client.custody.sealing import subkey

DICOM_ROOT = "1.2.840.10008."
"""UIDs of the standard itself; they name no image and no patient."""
MOST_DAYS = 3650


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes = field(repr=False)

    def patient(self, name: str) -> str:
        """`P-` and 16 letters, 80 bits: patients never meet by chance."""
        return "P-" + base64.b32encode(self._digest("patient", name.strip())[:10]).decode()

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 B.2), of a UUID of version 8 (RFC 9562); those of the standard stay."""
        if not uid or uid.startswith(DICOM_ROOT):
            return uid
        number = int.from_bytes(self._digest("uid", uid)[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76
        number = number & ~(0x3 << 62) | 2 << 62
        return f"2.25.{number}"

    def shifted(self, value: str, person: str) -> str:
        """A DICOM date, or date and time, some days to ten years earlier: the same span for all of one person.

        What is no date becomes empty.
        """
        days = 1 + int.from_bytes(self._digest("days", person.strip())[:8], "big") % MOST_DAYS
        try:
            day = datetime.strptime(value.strip()[:8], "%Y%m%d") - timedelta(days=days)
        except (ValueError, OverflowError):
            return ""
        return f"{day.year:04d}{day:%m%d}{value.strip()[8:]}"

    def _digest(self, purpose: str, name: str) -> bytes:
        return hashlib.blake2b(name.encode(), key=subkey(self.key, purpose), digest_size=32).digest()
