"""Text from outside, made harmless: names of files, and what is in headers, cells and requests.

Whatever goes through the standard streams goes through here, in one place: what would move a cursor, change colours or
turn the direction of writing is spelt out. Only Python's own library is imported: a help is there at once.
"""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

UNBOUNDED = 1_000_000
"""Columns of what has none: rich lays out to some width, and this is wider than any line."""

_HARMFUL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, what breaks lines or turns the direction of writing, and bytes of names that are no UTF-8."""
_IN_TEXT = re.compile(f"[{_HARMFUL}]")
_IN_NAME = re.compile(f"[{_HARMFUL}\t\n\xad\u180e\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")


def legible(name: str) -> str:
    """A name from outside as part of a line: all of it can be seen, and it ends no line."""
    return _IN_NAME.sub(_spell_out, name)


def harmless(text: str) -> str:
    """Lines to be printed, whatever names are in them."""
    return text if text.isascii() and text.isprintable() else _IN_TEXT.sub(_spell_out, text)


def _spell_out(odd: re.Match[str]) -> str:
    return odd[0].encode("unicode_escape").decode()


class NamedStream:
    """A standard stream whose errors say which one it is."""

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        """Write lines."""
        with self._named_errors():
            return self.raw.write(text)

    def flush(self) -> None:
        """All of it is written when this returns."""
        with self._named_errors():
            self.raw.flush()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, getattr(self.raw, "name", "a standard stream")) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class HarmlessStream(NamedStream):
    """A standard stream through which nothing harmful goes."""

    def write(self, text: str) -> int:
        """Write lines."""
        return super().write(harmless(text))


def spell_out_what_cannot_be_shown() -> None:
    """What is printed from now on is harmless; a letter that a terminal or a file lacks is written as its number."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who began this program: what is printed goes nowhere
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (to the end of the program)
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if not isinstance(stream, HarmlessStream):
            setattr(sys, name, HarmlessStream(stream))
