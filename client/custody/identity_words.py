"""Words that say who somebody is, read from a file's header, and where they are left: in texts, and among pixels.

Defence in depth: a file is written anew, and nothing should hold them (`deidentify`). Pixels can: some devices write
the header into the first rows.
"""

import re
from collections.abc import Iterator

from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from client.custody.sound_values import plain

PERSON = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName")
NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate")
LEAST_BYTES = 6
"""Of a word that is looked for among pixels: shorter ones occur there by chance."""
_PARTS = re.compile(r"[\^=\\ ,]+")
_ESCAPES = re.compile(rb"\x1b[()$,-/]*[0-~]")
"""ISO 2022: another character set begins."""


def text_words(header: Dataset) -> frozenset[str]:
    """Parts of all names at the top of a header, and the patient's numbers, without accents and in lower case.

    Of two letters or four digits and more: they are compared with whole words of texts that an option keeps.
    """
    names = re.findall(r"\w+", plain(" ".join(str(name.value) for name in _names(header))))
    numbers = re.findall(r"\w+", plain(" ".join(text for key in NUMBERS for text in _texts(header, key))))
    return frozenset(word for word in names if len(word) > 1) | {word for word in numbers if len(word) > 3}


def _names(header: Dataset) -> Iterator[DataElement]:
    for tag in list(header.keys()):
        vr = getattr(header.get_item(tag), "VR", None) or (dictionary_VR(tag) if dictionary_has_tag(tag) else "")
        if vr == "PN":
            yield header[tag]


def identifying_words(header: Dataset) -> list[bytes]:
    """The patient's names and numbers as bytes that do not occur by chance, in all the spellings that a device may use.

    As they are and in upper, lower and title case; in the file's own character sets, UTF-8 and UTF-16.
    """
    texts = {text for key in NUMBERS for text in _texts(header, key)}
    for name in (name for key in PERSON for text in _texts(header, key) for name in text.split("=")):
        parts = [part for part in _PARTS.split(name) if part]
        texts |= {*parts, *(between.join(order) for between in "^ " for order in (parts, parts[::-1]))}
    cases = {case for text in texts for case in (text, text.upper(), text.lower(), text.title())}
    encodings = {*convert_encodings(header.get("SpecificCharacterSet") or "ISO_IR 6"), "utf-8"}
    words = {_ESCAPES.sub(b"", text.encode(encoding, "ignore")) for text in cases for encoding in encodings}
    # Without its outer zero bytes a word is the same in both orders of UTF-16, as far as it is Latin.
    words |= {text.encode(order).strip(b"\0") for text in cases for order in ("utf-16-le", "utf-16-be")}
    return sorted(word for word in words if len(word) >= LEAST_BYTES and b"ANONYMOUS" not in word.upper())


def _texts(header: Dataset, keyword: str) -> list[str]:
    value = header.get(keyword)
    texts = [str(one).strip() for one in (value if isinstance(value, MultiValue) else [value]) if one is not None]
    return [text for text in texts if text]


def are_in(words: list[bytes], content: bytes) -> bool:
    """Whether one of the words is among bytes, in any case of Latin letters."""
    shortest: list[bytes] = []
    for word in sorted({word.lower() for word in words}, key=len):
        if not any(part in word for part in shortest):
            shortest.append(word)
    lower = content.lower()
    return any(word in lower for word in shortest)


def without_words(text: str, words: frozenset[str]) -> str:
    """A text in which dots stand for the words of `text_words`."""
    return re.sub(r"\w+", lambda word: "…" if plain(word[0]) in words else word[0], text)
