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
class Followers:
    """The sites that audit, and how far each has come."""

    transcripts: Transcripts
    _awaits: dict[str, int] = field(default_factory=dict)
    """By site, the number of the question whose transcript it awaits, or that it has no use for any."""

    def meet(self, sites: Iterable[str], place: Place | None, talk: QuestionExchange) -> None:
        """Ask those of the sites that are not known yet.

        Args:
            place: where the run stands, for sites that come late.
        """
        unknown = sorted(set(sites) - set(self._awaits))
        answers = self._follow(unknown, {}, talk)
        late = [site for site, found in answers.items() if found == NEW]
        if place and late:
            answers |= self._follow(late, prefixed("place", place.tensors()), talk)
        self._awaits |= answers

    def show(self, sites: Collection[str], talk: QuestionExchange) -> None:
        """Send the sites what they have not seen; one that falls silent gets it another time."""
        behind = {site for site in sites if self._awaits.get(site, AWAITS_NOTHING) >= 0}
        for found, path in self.transcripts.numbered():
            to = [site for site in sorted(behind) if self._awaits[site] <= found]
            size, at = path.stat().st_size, 0
            with path.open("rb") as file:
                while to and (piece := file.read(PIECE_BYTES)):
                    request = Request(
                        "secagg/audit", talk.round, {"message": np.frombuffer(piece, np.uint8)},
                        {"number": found, "at": at, "of": size},
                    )  # fmt: skip
                    heard = {site: decode_number(m) for site, m in talk.ask(dict.fromkeys(to, request))}
                    behind -= set(to) - set(heard)
                    to, at = sorted(heard), at + len(piece)
                    self._awaits |= heard

    def clear(self, before: int) -> None:
        """Forget transcripts that all have seen, of questions before this one."""
        if self.transcripts.for_good:
            return
        kept = self.transcripts.numbered()
        needed = min([before, *(found for found in self._awaits.values() if found >= 0)])
        longest = kept[-LONGEST_BEHIND][0] if len(kept) > LONGEST_BEHIND else 0
        self.transcripts.discard(before=max(needed, longest))

    def _follow(self, sites: Collection[str], tensors: Tensors, talk: QuestionExchange) -> dict[str, int]:
        names = np.frombuffer("\n".join(talk.transport.sites()).encode(), np.uint8)
        request = Request("secagg/follow", talk.round, {**tensors, "message": names})
        return {site: decode_number(message) for site, message in talk.ask(dict.fromkeys(sites, request))}
