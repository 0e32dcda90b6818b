"""Shows the sites that audit how one sum followed from what all sites sent, so that they can compute the next model.

    secagg/follow   do you audit, and which question's transcript do you await?
    secagg/submit   the next question, and with it the transcript of the last one, if that is short
    secagg/audit    the transcript of one question, in pieces, to whoever is further behind, or at the end of the run

A site that was silent is shown what it missed before it is asked again, and one that is new everything from the first
question on: no site believes a model. So all transcripts of a run stay on disk until it is over.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.messages.answer_layout import AWAITS_NOTHING, PIECE_BYTES, decode_number
from common.messages.transport import Request
from common.types import Tensors
from server.rounds.exchange import Page, QuestionExchange
from server.rounds.transcripts import Transcripts


@dataclass
class Auditors:
    """The sites that audit, and how far each has come."""

    transcripts: Transcripts
    _next: dict[str, int] = field(default_factory=dict)
    """By site, the number of the question whose transcript it needs next, or that it has no use for any."""

    def ask_new_sites(self, sites: Iterable[str], papers: Callable[[], Tensors], exchange: QuestionExchange) -> None:
        """Ask those of the sites that were not asked yet whether they audit, and which transcript they await.

        Args:
            papers: gives roster and approvals, by which a site that comes late knows the run.
        """
        if not (unknown := sorted(set(sites) - set(self._next))):
            return
        request = Request("secagg/follow", exchange.round, papers())
        requests = dict.fromkeys(unknown, request)
        self._next |= {site: decode_number(message) for site, message in exchange.ask(requests)}

    def page(self, sites: Iterable[str]) -> Page | None:
        """The newest transcript, for those of the sites that miss it and no other; none where it is long."""
        *_, before, (number, path) = [(AWAITS_NOTHING, Path()), (AWAITS_NOTHING, Path()), *self.transcripts.numbered()]
        missing = frozenset(s for s in sites if before[0] < self._next.get(s, AWAITS_NOTHING) <= number)
        return Page(number, path.read_bytes(), missing) if missing and _fits(path) else None

    def note_answers(self, page: Page, sites: Collection[str]) -> None:
        """Sites that have answered the question with which it came have taken it in."""
        self._next |= dict.fromkeys(page.sites.intersection(sites), page.number + 1)

    def send_transcripts(self, sites: Collection[str], exchange: QuestionExchange, *, but_newest: bool = False) -> None:
        """Send the sites what they have not seen; one that falls silent gets it another time.

        Args:
            but_newest: leave out what goes with the next question.
        """
        behind = {site for site in sites if self._next.get(site, AWAITS_NOTHING) >= 0}
        numbered = self.transcripts.numbered()
        if but_newest and numbered and _fits(numbered[-1][1]):
            numbered.pop()
        for number, path in numbered:
            receivers = [site for site in sorted(behind) if self._next[site] <= number]
            size, offset = path.stat().st_size, 0
            with path.open("rb") as file:
                while receivers and (piece := file.read(PIECE_BYTES)):
                    request = Request(
                        "secagg/audit", exchange.round, {"message": np.frombuffer(piece, np.uint8)},
                        {"number": number, "at": offset, "of": size},
                    )  # fmt: skip
                    requests = dict.fromkeys(receivers, request)
                    answers = {site: decode_number(message) for site, message in exchange.ask(requests)}
                    behind -= set(receivers) - set(answers)
                    receivers = sorted(answers)
                    offset += len(piece)
                    self._next |= answers


def _fits(path: Path) -> bool:
    return path.stat().st_size <= PIECE_BYTES
