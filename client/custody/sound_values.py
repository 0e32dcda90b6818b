"""Values that stay in a de-identified file: written anew, and only where they are what their kind allows.

A number is a number, a term one that is listed, a time a time: devices and people write names into anything.
"""

import re
import unicodedata
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from client.custody.confidentiality import TERMS

OLDEST_YEARS = 90
"""Older people are few enough to be recognised: their age is kept as this one."""
PATTERNS = {
    "AS": r"\d{1,3} *[DWMYdwmy]",
    "CS": r"[A-Z0-9_ ]{1,16}",
    "DS": r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    "IS": r"[+-]?\d{1,10}",
    "TM": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?(-\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?",
    "UI": r"\d+(\.\d+)*",
    **dict.fromkeys(("LO", "SH"), r"[^\x00-\x1f\x7f\\]{1,64}"),
    **dict.fromkeys(("LT", "ST", "UC", "UT"), r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]{1,1024}"),
}
"""Text of each value representation (PS3.5, table 6.2-1); lists, and free text, stay only where an option says so."""
NUMBERS = {"US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"}
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_WORD = re.compile(r"\w+")


def element(tag: int, header: Dataset) -> DataElement | None:
    """An element with its sound values; None where it has none, or another among them."""
    try:
        original = header[tag]
        if tag == _LUT_DATA:
            return _table(original, header)
        values = list(original.value) if isinstance(original.value, MultiValue | list) else [original.value]
    except Exception:  # bytes that are no value of their kind: pydicom raises anything
        return None
    vr = original.VR if original.VR in NUMBERS else dictionary_VR(tag)
    if tag in TERMS:
        values = [value for value in map(_text, values) if value in TERMS[tag]]
    elif vr in NUMBERS:
        values = values if _are_numbers(tag, values) else []
    else:
        values = _texts(vr, [value for value in values if value not in (None, "")])
    return DataElement(tag, vr, values if len(values) != 1 else values[0]) if values else None


def _are_numbers(tag: int, values: list[Any]) -> bool:
    """Whether there are as many numbers as the element has: bytes of any text are numbers as well."""
    if tag == _LUT_DESCRIPTOR and not (len(values) == 3 and 8 <= values[2] <= 16):
        return False
    return str(len(values)) == dictionary_VM(tag) and all(isinstance(value, int | float) for value in values)


def _texts(vr: str, values: list[Any]) -> list[str]:
    texts = [_text(value) for value in values]
    if vr not in PATTERNS or not all(re.fullmatch(PATTERNS[vr], text) for text in texts):
        return []
    return [_age(text) for text in texts] if vr == "AS" else texts


def _text(value: Any) -> str:
    return str(value).strip(" \0")


def _age(text: str) -> str:
    number, unit = int(text[:-1]), text[-1].upper()
    return f"{min(number, OLDEST_YEARS) if unit == 'Y' else number:03d}{unit}"


def _table(original: DataElement, header: Dataset) -> DataElement | None:
    """The entries of a look-up table that its descriptor announces, and none behind them."""
    entries = int(header[_LUT_DESCRIPTOR].value[0]) & 0xFFFF
    entries = entries or 1 << 16
    if not isinstance(original.value, bytes):
        values = list(original.value)
        return DataElement(_LUT_DATA, "US", values[:entries]) if len(values) >= entries else None
    size = entries if len(original.value) < 2 * entries else 2 * entries  # whatever bits it says
    content = original.value[:size]
    if header.original_encoding[1] is False and size > entries:
        content = np.frombuffer(content[: len(content) // 2 * 2], ">u2").astype("<u2").tobytes()
    return DataElement(_LUT_DATA, "OW", content + b"\0" * (size % 2)) if len(content) == size else None


def holds(entry: DataElement, words: frozenset[str]) -> bool:
    """Whether a text holds one of the words as a whole word, in any case and spelling of its letters."""
    if entry.VR not in PATTERNS:
        return False
    return not words.isdisjoint(_WORD.findall(plain(str(entry.value))))


def plain(text: str) -> str:
    """Letters without accents and case, so that spellings of one name are equal."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in folded if not unicodedata.combining(letter))
