"""Words of a data set: which say nothing, and which differ in their spelling alone.

Spreadsheets, scripts and people write one label or one patient in several ways: `Ill` and `ill `, `7` and `7.0` and
`007`, an accent as one letter or as two, letters of no width. Taken for two, one person is on both sides of a split,
and one class is two. What is meant only the hospital knows: `data.spelling` says it, and without it a run is refused.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from common.cli.harmless import legible
from common.config import DataSource
from common.errors import DataError

_EMPTY = re.compile(
    r"-?nan|n/?a|n\. ?a\.?|k\. ?a\.?|<na>|#n/?a( n/a)?|nat|\(?null\)?|nil|none|-?1\.#(ind|qnan)|"
    r"#(null|value|ref|num|div/0)!|#name\?|#+|missing|unknown|undefined|unspecified|pending|tbd|n\.d\.|"
    r"not (available|known|given|specified|recorded|reported|applicable|done|yet)|to be determined|keine angaben?|"
    r"(nicht |un)bekannt|inconnue?|desconocid[oa]|desconhecid[oa]|sconosciut[oa]|onbekend|"
    r"\[\]|\{\}|''|\"\"|\\n|[-‐-―−.?_*]*"
)
"""What pandas, R, SQL, Excel (### where a column was too narrow) and people write where nothing is known."""
_QUOTED_AS_TEXT = re.compile(r"=\"(.*)\"|['’`](.*)")
"""How numbers are made texts in spreadsheets: ="007", '007."""

_SAME_LETTERS = str.maketrans("авекмнорстухіѕјοανρτυι", "abekmhopctyxisjoanptui")
"""Small Cyrillic and Greek letters that look like Latin ones, at least as capitals."""

_LISTED = 20


def says_nothing(word: str) -> bool:
    """Whether a word stands for a value that is not known."""
    return bool(_EMPTY.fullmatch(_visible(word).casefold()))


def is_cut_number(word: str) -> bool:
    """Whether a spreadsheet has shortened a long number to one like 1.23457E+11: its last digits are lost."""
    return bool(re.fullmatch(r"\d([.,]\d+)?[eE]\+\d+", word.strip()))


def likeness(word: str) -> str:
    """What is left of a word without its spelling; two words with the same are alike."""
    text = _visible(word).casefold().translate(_SAME_LETTERS)
    if quoted := _QUOTED_AS_TEXT.fullmatch(text):
        text = quoted[1] or quoted[2] or ""
    text = "".join(
        "-" if unicodedata.category(c) == "Pd" or c == "−" else c for c in unicodedata.normalize("NFKC", text)
    )
    text = "".join(str(unicodedata.decimal(c, c)) for c in text)
    if len(text) < 40 and re.fullmatch(r"[+-]?\d+([.,]\d*)?(e[+-]?\d{1,2})?", text):
        number = Decimal(text.replace(",", ".")).normalize()
        return "0" if not number else f"{number:f}"
    # Blanks, dashes and zeros in front tell numbers apart (1-12, 11-2; 1.05, 1.5), and words and their numbers not.
    text = re.sub(r"(?<=[^\W\d_])[\s_-]+(?=[^\W_])|(?<=\d)[\s_-]+(?=[^\W\d_])", "", text)
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", text)


def _visible(word: str) -> str:
    """Without what cannot be seen: marks of direction and of no width, and blanks around and twice."""
    text = unicodedata.normalize("NFKC", word)
    return " ".join("".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace()).split())


def settle(
    where: str,
    what: str,
    words: Sequence[str],
    source: DataSource,
    place: Callable[[int], str],
    around: Sequence[str] = (),
) -> list[str]:
    """One spelling for each word of a column, as `data.spelling` has it.

    Args:
        where: the file or folder.
        what: the column, in the plural.
        place: where in it the word of an index stands.
        around: where given, words are held against those alone that have the same here: a site's patients.

    Raises:
        DataError: words that are spelt in several ways, and nothing says whether they are meant to be the same.
    """
    if source.spelling == "keep":
        return list(words)
    pairs = list(zip(around or ("",) * len(words), words, strict=True))
    counts, first = Counter(pairs), {pair: i for i, pair in reversed(list(enumerate(pairs)))}
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for pair in counts:
        alike.setdefault((pair[0], likeness(pair[1])), []).append(pair)
    several = [spellings for spellings in alike.values() if len(spellings) > 1]
    if source.spelling == "refuse" and several:
        raise _refuse(where, what, [", ".join(f"{_quote(p[1])} ({place(first[p])})" for p in line) for line in several])
    configured = {likeness(name): name for name in configured_names(source)} if what == "labels" else {}
    name_of = {
        pair: configured.get(key) or max(spellings, key=lambda pair: (counts[pair], -first[pair]))[1]
        for (_, key), spellings in alike.items()
        for pair in spellings
    }
    return [name_of[pair] for pair in pairs]


def _refuse(where: str, what: str, lines: Sequence[str]) -> DataError:
    more = [f"  … and {len(lines) - _LISTED} more"] * (len(lines) > _LISTED)
    listing = "\n".join([*(f"  {line}" for line in lines[:_LISTED]), *more])
    return DataError(
        f"{where}: {what} that are spelt in several ways, {len(lines)} of them:\n{listing}\nCorrect them, or set "
        "data.spelling: merge takes those of a line for one and the same, keep takes each for another."
    )


def _quote(word: str) -> str:
    """A word, and its letters one by one where others may look like it."""
    text = legible(word)
    return f"'{text}'" if text.isascii() else f"'{text}' = {word!a}"


def not_text(word: str) -> str | None:
    """Why a name of a folder is no word: its bytes are no UTF-8; None if it is one."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return f"'{legible(word)}' is no UTF-8; rename the folder"
    return None


def configured_names(source: DataSource) -> tuple[str, ...]:
    """The labels that a configuration says the data has."""
    return tuple(getattr(source, "groups", {})) or source.labels


def wrong_label(label: str, source: DataSource) -> str | None:
    """Why a label is none; None if it is one."""
    names = configured_names(source)
    if wrong := not_text(label):
        return f"label {wrong}"
    if label in names:
        return None
    if says_nothing(label):
        return f"label '{legible(label)}' says that none is known; if it is a class, data.labels has to name it"
    near = next((name for name in names if likeness(name) == likeness(label)), None)
    if not names or (near and source.spelling == "merge"):
        return None
    alike = f"; it is spelt like '{legible(near)}', which data.spelling: merge takes it for" if near else ""
    return f"label '{legible(label)}' is none of {', '.join(map(legible, names))}{alike}"
