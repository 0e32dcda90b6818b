"""The cells of a CSV as spreadsheets write it: commas, semicolons, tabs or bars, any end of line, several encodings."""

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from common.cli.harmless import legible
from common.errors import DataError

_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_OTHER_FILES = {b"PK\x03\x04": "an Excel or OpenDocument workbook", b"\xd0\xcf\x11\xe0": "an old Excel workbook",
                b"\x1f\x8b": "packed with gzip", b"%PDF": "a PDF"}  # fmt: skip
DELIMITERS = ",;\t|"
MAX_BYTES = 1 << 30
FORMULAS = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
"""How a spreadsheet's formulas begin."""


@dataclass(frozen=True)
class Cells:
    """The rows of a CSV that hold anything, the header first."""

    records: list[tuple[int, list[str]]]
    """Number of each row in the file, as a spreadsheet counts it, and its cells."""
    remarks: tuple[str, ...] = ()


def read(path: Path, encoding: str | None) -> Cells:
    """All rows of a CSV.

    Raises:
        DataError: it cannot be read, is no text in a known encoding, or no CSV; the message names the row.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise DataError(f"{path}: no file; expected a CSV with the columns path, label.")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes; lists above {MAX_BYTES:,} are refused.")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected a CSV with the columns path, label."
        ) from None
    text, remarks = _decode(path, content, encoding)
    text = text.removeprefix("\ufeff")
    sep = re.match(r'"?sep=(.)"?(\r\n|\r|\n)', text, re.IGNORECASE)  # Excel's own line: what stands between cells
    head = next((line for line in text[sep.end() if sep else 0 :].splitlines() if line.strip()), "")
    delimiter = sep[1] if sep else max(DELIMITERS, key=re.sub(r'"[^"]*"', "", head).count)
    text = text[sep.end() :] if sep else text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records = []
    try:
        for number, record in enumerate(reader, start=2 if sep else 1):
            if any(cell.strip() for cell in record):
                records.append((number, record))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num + (1 if sep else 0)}: not a CSV ({error}); check the quotes around cells."
        ) from None
    return Cells(records, remarks)


def _decode(path: Path, content: bytes, encoding: str | None) -> tuple[str, tuple[str, ...]]:
    for beginning, what in _OTHER_FILES.items():
        if content.startswith(beginning):
            raise DataError(f"{path}: {what}, expected a CSV. Save it as «CSV UTF-8» in a spreadsheet.")
    codec = encoding or next((name for mark, name in _MARKS if content.startswith(mark)), None)
    try:
        text = content.decode(codec or "utf-8-sig")
    except UnicodeDecodeError as error:
        if codec:
            row = content[: error.start].count(b"\n") + 1
            raise DataError(f"{path}, line {row}: not {codec} at byte {error.start}; save the CSV as UTF-8.") from None
        return _as_windows(path, content, error.start)
    except (LookupError, UnicodeError):
        raise DataError(
            f"{path}: data.encoding '{legible(codec or '')}' is not known; expected one like utf-8 or cp1252."
        ) from None
    if (zero := text.find("\0")) >= 0:
        row = text[:zero].count("\n") + 1
        raise DataError(
            f"{path}, row {row}: holds a zero byte, so it is no CSV in UTF-8; save it as UTF-8, or set data.encoding."
        )
    return text, ()


def _as_windows(path: Path, content: bytes, at: int) -> tuple[str, tuple[str, ...]]:
    """What is not UTF-8 is what Excel writes in Western Europe, if all of it is."""
    lines = content.splitlines()
    odd = [(i, line) for i, line in enumerate(lines, start=1) if not line.isascii()]
    both = [i for i, line in odd if _is(line, "utf-8")]
    row = next(i for i, line in odd if not _is(line, "utf-8"))
    if both or b"\0" in content or not _is(content, "cp1252"):
        also = f", and line {both[0]} is" if both else ", nor Windows-1252"
        raise DataError(
            f"{path}, line {row}: not UTF-8{also} (byte {at}); save the CSV as UTF-8, or set data.encoding."
        )
    word = lines[row - 1].decode("cp1252")
    return content.decode("cp1252"), (
        f"{path.name} is not UTF-8, and was read as Windows-1252: is line {row} right, '{legible(word)}'? If not, set "
        "data.encoding",
    )


def _is(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def spreadsheet_cell(value: object) -> object:
    """A value that a spreadsheet does not take for a formula, in whatever width of letters."""
    return f"'{value}" if isinstance(value, str) and value.lstrip().startswith(FORMULAS) else value
