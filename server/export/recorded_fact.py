"""One statement of a dossier, with the file and the keys that it is read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RecordedFact:
    """One statement of a dossier."""

    text: str
    """One statement, or a line for each of several."""
    source: str
    """File of the run's folder, and keys in it."""


def fact_of(keys: str, text: str) -> RecordedFact | None:
    """What result.json says under these keys; None where it says nothing."""
    return RecordedFact(text, f"result.json: {keys}") if text else None


def in_words(tree: object) -> str:
    """Settings in one line; what is not set is left out."""
    if isinstance(tree, Mapping):
        return ", ".join(f"{k} {in_words(v)}" for k, v in tree.items() if v not in (None, [], {}, ""))
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return f"[{'; '.join(map(in_words, tree))}]"
    return f"{tree:g}" if isinstance(tree, float) else str(tree)
