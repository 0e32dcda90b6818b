"""Shows the sites that audit how one sum followed from what all sites sent, so that they can compute the next model.

    secagg/follow   do you audit, and which question do you await? A site that is new is told where the run stands
    secagg/audit    the transcript of one question, in pieces

A site that was silent is shown what it missed before it is asked again. Transcripts wait on disk until then.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from common.algorithms.course import Place
from common.messages.answer_layout import AWAITS_NOTHING, NEW, PIECE_BYTES, decode_number
from common.messages.transport import Request
from common.types import Tensors, prefixed
from server.rounds.exchange import QuestionExchange
from server.rounds.transcripts import Transcripts

LONGEST_BEHIND = 64
"""Questions after which the transcripts are no longer kept for a site that stays away."""

log = logging.getLogger("consilium")


@dataclass
class Auditors:
    """The sites that audit, and how far each has come."""

    transcripts: Transcripts
    _next: dict[str, int] = field(default_factory=dict)
    """By site, the number of the question whose transcript it needs next, or that it has no use for any."""

    def ask_new_sites(self, sites: Iterable[str], place: Place | None, exchange: QuestionExchange) -> None:
        """Ask those of the sites that were not asked yet whether they audit.

        Args:
            place: where the run stands, for sites that come late.
        """
        unknown = sorted(set(sites) - set(self._next))
        answers = self._ask(unknown, {}, exchange)
        late = [site for site, number in answers.items() if number == NEW]
        if place and late:
            answers |= self._ask(late, prefixed("place", place.tensors()), exchange)
        self._next |= answers

    def send_transcripts(self, sites: Collection[str], exchange: QuestionExchange) -> None:
        """Send the sites what they have not seen; one that falls silent gets it another time."""
        behind = {site for site in sites if self._next.get(site, AWAITS_NOTHING) >= 0}
        for number, path in self.transcripts.numbered():
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

    def discard_transcripts(self, before: int) -> None:
        """Remove transcripts that all have seen, of questions before this one."""
        if self.transcripts.for_good:
            return
        numbered = self.transcripts.numbered()
        needed = min([before, *(number for number in self._next.values() if number >= 0)])
        oldest = numbered[-LONGEST_BEHIND][0] if len(numbered) > LONGEST_BEHIND else 0
        self.transcripts.discard(before=max(needed, oldest))

    def _ask(self, sites: Collection[str], tensors: Tensors, exchange: QuestionExchange) -> dict[str, int]:
        names = np.frombuffer("\n".join(exchange.transport.sites()).encode(), np.uint8)
        request = Request("secagg/follow", exchange.round, {**tensors, "message": names})
        return {site: decode_number(message) for site, message in exchange.ask(dict.fromkeys(sites, request))}
