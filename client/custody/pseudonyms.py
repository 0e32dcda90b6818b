"""Names that stand for others, by a key that only the site has: the same for the same, and no way back without it."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydicom.uid import UID_dictionary

from client.custody.sealing import subkey

MOST_DAYS = 3650
_CLOCK = r"(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?"
_DATE = re.compile(rf"(\d{{8}})({_CLOCK})(?:(-)(\d{{8}})({_CLOCK}))?")
"""A DICOM date, or date and time, or a range of them (PS3.5, table 6.2-1)."""


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes = field(repr=False)

    def patient(self, name: str) -> str:
        """`P-` and 16 letters, 80 bits: patients never meet by chance."""
        return "P-" + base64.b32encode(self._digest("patient", name.strip())[:10]).decode()

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 B.2), of a UUID of version 8 (RFC 9562); those that the standard lists stay."""
        if not uid or uid in UID_dictionary:
            return uid
        number = int.from_bytes(self._digest("uid", uid)[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76
        number = number & ~(0x3 << 62) | 2 << 62
        return f"2.25.{number}"

    def shifted(self, value: str, person: str) -> str:
        """A DICOM date, date and time, or range, some days to ten years earlier: the same span for all of one person.

        What is no date becomes empty.
        """
        days = 1 + int.from_bytes(self._digest("days", person.strip())[:8], "big") % MOST_DAYS
        if (match := _DATE.fullmatch(value.strip(" \0"))) is None:
            return ""
        first, clock, between, last, last_clock = (part or "" for part in match.groups())
        try:
            return _earlier(first, days) + clock + (between and between + _earlier(last, days) + last_clock)
        except (ValueError, OverflowError):
            return ""

    def _digest(self, purpose: str, name: str) -> bytes:
        return hashlib.blake2b(name.encode(), key=subkey(self.key, purpose), digest_size=32).digest()


def _earlier(date: str, days: int) -> str:
    day = datetime.strptime(date, "%Y%m%d") - timedelta(days=days)
    return f"{day.year:04d}{day:%m%d}"
