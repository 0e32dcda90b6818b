"""The public list of codes by which a site says that it refused: all that a coordinator learns of it.

The text of an error may name files, rows, patients; it stays in the site's log. What becomes of a run where more sites
refuse than a sum can spare is decided by the code:

    again      somebody can mend it, or the next round goes well: the run goes on
    question   this question is never answered: the run ends where the next one would be the same
    run        whatever is asked under this plan, the site refuses: the run ends at once

The list is refusals.csv; docs/errors.md shows it in tables, which `python docs/generate.py` writes.
"""

import csv
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from common.errors import ConsiliumError, PluginError, QuorumError, SecAggError

Ends = Literal["again", "question", "run"]
TABLE = Path(__file__).with_name("refusals.csv")
NO_WORDS: Mapping[str, str] = {}


@dataclass(frozen=True)
class RefusalCode:
    """What a code means."""

    ends: Ends
    happened: str
    advice: str
    """What is mostly to be done; empty where it is to be taken for an attack. Markdown, as in docs/errors.md."""


def _read_codes() -> dict[str, RefusalCode]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {
            row["code"]: RefusalCode(_ends(row["ends"]), row["happened"], row["advice"]) for row in csv.DictReader(file)
        }


def _ends(text: str) -> Ends:
    return get_args(Ends)[get_args(Ends).index(text)]  # type: ignore[no-any-return]


CODES: Mapping[str, RefusalCode] = _read_codes()
"""By code: in capitals that of an error's class, else the word beside it, which says more."""


def code_of(error: Exception) -> str:
    """What the coordinator may read of an error."""
    if isinstance(error, SecAggError | PluginError) and error.cause in CODES:
        return error.cause
    if isinstance(error, ConsiliumError):
        return error.code
    return "DISK" if isinstance(error, OSError) else "DEFECT"


def public_code(code: str) -> str:
    """A code as a site sent it; WIRE for anything that is on no list."""
    return code if code in CODES else "WIRE"


def worse(one: str, other: str) -> str:
    """Of two codes of one site, of which the second came later, the one that decides."""
    return one if CODES[public_code(one)].ends != "again" else other


def final(codes: Mapping[str, str], *, same_again: bool) -> dict[str, str]:
    """Those of the refusals that stand however often the site is asked.

    Args:
        same_again: whether the next question would be the same one.
    """
    ending = {"run", "question"} if same_again else {"run"}
    return {site: code for site, code in codes.items() if CODES[public_code(code)].ends in ending}


def sentence(codes: Mapping[str, str], many: int, words: Mapping[str, str] = NO_WORDS) -> str:
    """Who refused and why, as "3 of 3 refused: repeated-question (answered before, over other sites)".

    Args:
        many: how many sites were asked.
        words: what is known better than the list has it, by code.
    """
    parts = []
    for code in sorted(set(codes.values())):
        sites = sorted(site for site, site_code in codes.items() if site_code == code)
        meaning = words.get(code) or CODES[public_code(code)].happened
        names = "" if len(sites) == many else f", {', '.join(sites)}"
        parts.append(f"{code} ({meaning}){names}")
    return f"{len(codes)} of {many} refused: {'; '.join(parts)}" if parts else ""


def advice(codes: Collection[str]) -> str:
    """What is to be done, in sentences without Markdown; empty where there is nothing to say."""
    texts = dict.fromkeys(CODES[public_code(code)].advice for code in sorted(codes))
    return " ".join(f"{_plain(text[0].upper() + text[1:])}." for text in texts if text)


class RefusedError(QuorumError):
    """Too few sites answered, because sites refused, and they would refuse again.

    Args:
        codes: codes by site.
        many: how many sites were asked.
    """

    code = "REFUSED"

    def __init__(self, codes: Mapping[str, str], many: int) -> None:
        self.refused, self.asked = dict(codes), many
        super().__init__(self.explained())

    def explained(self, words: Mapping[str, str] = NO_WORDS) -> str:
        """The same with `words` as of `sentence`."""
        words_and_advice = f"{sentence(self.refused, self.asked, words)}. {advice(self.refused.values())}".strip()
        return f"{words_and_advice} They would refuse it again, so nothing more is asked."


def _plain(text: str) -> str:
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text).replace("`", "")
