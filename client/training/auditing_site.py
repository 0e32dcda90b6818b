"""A site that follows its run: it recomputes every model from what all sites sent, and answers for no other.

    secagg/follow   the sites of the run, and whose transcript this site awaits: at first that of the first question
    secagg/audit    the transcript of a question, in pieces: audited, added up, and taken into the course
    secagg/submit   what is asked must be what follows; else nothing is sent

Between two questions the site is at a `Place`. A transcript takes it to the next one; questions that came to nothing
leave the model as it is and need no transcript, unless this site has released its shares: then it is owed an account.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.training.audit_store import AuditNotes, AuditStore, FolderStore, StateStore
from client.training.secure_site import MESSAGE, SecuredSite, bytes_in, question_in
from common.algorithms import RoundTotal
from common.algorithms.course import VOID, Course, Place, number
from common.errors import PolicyError, WireError
from common.messages import answer_layout
from common.messages.answer_layout import encode_number
from common.messages.transport import Reply, Request
from common.secagg.audit import replay_transcript
from common.secagg.transcript import read_frames
from common.secagg.transcript_reading import TranscriptAccount
from common.types import Tensors, prefixed, under

log = logging.getLogger("consilium")

PREFIX = "lineage"
ROOM_BYTES, ROOM_A_SITE_BYTES = 2**24, 2**20
"""What a transcript may hold beside the vectors: roster and plan; keys, signatures and shares of each site."""
REMEDY = "Nothing was sent. Tell the consortium."


@dataclass
class AuditingSite:
    """Stands before a secured site.

    Args:
        course: what this site's own configuration lays down, for a run of these sites.
        folder: where to keep what it follows by; none: in the state that `answer` takes and gives.
    """

    secured: SecuredSite
    course: Callable[[Sequence[str]], Course]
    folder: Path | None = None

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Take one step of the protocol.

        Raises:
            PolicyError: for a question that does not follow from the sums before it, and for a transcript that does not
                hold; and all that `SecuredSite` and `common.secagg.audit` raise. Nothing leaves then.
        """
        site_state: Tensors = {name: value for name, value in state.items() if not name.startswith(PREFIX + "/")}
        after, inside = site_state, StateStore(under(PREFIX, state))
        store: AuditStore = FolderStore(self.folder) if self.folder else inside
        if request.kind in ("secagg/follow", "secagg/audit"):
            step = self._follow if request.kind == "secagg/follow" else self._audit
            reply = Reply({MESSAGE: np.frombuffer(encode_number(step(request, store)), np.uint8)})
        else:
            if request.kind == "secagg/submit":
                self._check(request, store)
            elif request.kind == "secagg/release":
                self._note_release(store)
            reply, after = self.secured.answer(request, site_state)
        if after is site_state and not inside.is_changed:
            return reply, state
        return reply, {**after, **prefixed(PREFIX, inside.arrays)}

    # --- the run's beginning, or where this site comes in ---------------------------------------------------------

    def _follow(self, request: Request, store: AuditStore) -> int:
        """Note the run's sites; the number of the question that is awaited."""
        notes, names = AuditNotes.load(store), tuple(bytes_in(request, MESSAGE).decode(errors="replace").split("\n"))
        if notes.sites not in ((), names) or self._name not in names or list(names) != sorted(set(names)):
            raise PolicyError("other-sites", f"{self._name}: a run of other sites than it began with. {REMEDY}")
        if not notes.sites:
            replace(notes, sites=names).save(store)
        return (self._place(store) or self.course(names).start()).number

    # --- what is asked --------------------------------------------------------------------------------------------

    def _check(self, request: Request, store: AuditStore) -> None:
        """Hold a question against the one that follows."""
        inner, notes = question_in(request), AuditNotes.load(store)
        question_number = number(inner.kind, inner.round)
        if not notes.sites:
            raise self._missing_transcript(inner)
        course = self.course(notes.sites)
        place = self._place(store) or course.start()
        if notes.due(place.number, question_number):
            raise self._missing_transcript(inner)
        if question_number >= place.number and course.over(place):
            raise PolicyError(
                "run-is-over",
                f"{self._name}: asked for '{inner.kind}' of round {inner.round}, and the run is over: "
                f"its rounds are done, or no evaluation was better for as long as federation.patience says. {REMEDY}",
            )
        reached, question = course.reached(place, question_number), answer_layout.question(inner)
        if reached and _question(course, reached) != question and (adopted := course.adopt(reached, inner)):
            reached = adopted
            store.save("place", reached.tensors())
        if reached is None or _question(course, reached) != question:
            if question_number > place.number:
                raise self._missing_transcript(inner)
            raise self._does_not_follow(course.request(reached or place), inner)
        replace(notes, asked=question_number).save(store)

    def _note_release(self, store: AuditStore) -> None:
        # Before the shares leave, so that a crash cannot make the site forget that an account is due. Where they cannot
        # leave, for example because this is a message that comes a second time, none is.
        if context := self.secured.agreed_context:
            notes = AuditNotes.load(store)
            replace(notes, owed={**notes.owed, notes.asked: context.hex()}).save(store)

    # --- what came of it ------------------------------------------------------------------------------------------

    def _audit(self, request: Request, store: AuditStore) -> int:
        """Take a piece of a transcript; with the last one, take the step that follows from it."""
        notes, piece = AuditNotes.load(store), bytes_in(request, MESSAGE)
        question_number, at, size = (_whole_number(request, name) for name in ("number", "at", "of"))
        if not notes.sites:
            raise self._missing_transcript(request)
        course = self.course(notes.sites)
        place = self._place(store) or course.start()
        if question_number < place.number:  # it was seen, and the answer was lost
            return place.number
        limit = self._most_bytes(len(notes.sites))
        if size > limit or at + len(piece) > size:
            raise PolicyError("oversized-transcript", f"a transcript of {size} bytes, expected {limit} at most.")
        if store.add(at, piece) < size:
            return place.number
        try:
            with store.transcript() as file:
                context = bytes.fromhex(notes.owed[question_number]) if question_number in notes.owed else None
                record = replay_transcript(read_frames(file), self.secured.machine.pins, context=context)
        finally:
            store.clear()
        after = self._step(course, place, question_number, record, notes)
        owed = {owing: context for owing, context in notes.owed.items() if owing != question_number}
        notes = replace(notes, owed=owed, config=record.plan.config.hex(), roster=record.roster.version)
        notes.save(store)  # first: the same transcript may come twice
        store.save("place", after.tensors())
        return after.number

    def _step(
        self, course: Course, place: Place, question_number: int, record: TranscriptAccount, notes: AuditNotes
    ) -> Place:
        """Where a transcript leads, if it is of the question that comes next."""
        reached = course.reached(place, question_number)
        if notes.due(place.number, question_number):
            raise self._missing_transcript(course.request(reached or place))
        if reached is None or (record.start.kind, record.start.question) != _asks(course, reached):
            raise PolicyError(
                "replayed-transcript",
                f"{self._name}: a transcript of another question than the one that comes next. {REMEDY}",
            )
        kind, cohort = record.start.kind, record.plan.cohort
        if cohort != course.cohort(reached):
            raise PolicyError("other-cohort", f"{self._name}: a sum over other sites than the run asks in this round.")
        same = record.plan.config.hex() == notes.config or not notes.config
        if not same or record.plan.question_kinds[kind] != self.secured.exchanges(len(cohort)).get(kind):
            raise PolicyError("changed-plan", f"{self._name}: a transcript of another plan than this run's.")
        if record.roster.version < notes.roster:
            raise PolicyError("rolled-back-roster", f"{self._name}: a transcript under an older roster than before it.")
        if record.total is None:
            log.warning(
                "%s: '%s' of round %d was void after shares were released (%s)%s", self._name, kind, reached.round,
                record.failure, f"; none are shown of {', '.join(record.withholders)}" if record.withholders else "",
            )  # fmt: skip
            return course.after(reached, VOID)
        sums = record.plan.question_kinds[kind].layout.decode(record.total.words)
        dropouts = tuple(site for site in cohort if site not in record.total.survivors)
        return course.after(reached, RoundTotal(sums, record.total.survivors, dropouts))

    # --- in short -------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self.secured.site.cases.name

    def _place(self, store: AuditStore) -> Place | None:
        return Place.of(arrays) if (arrays := store.load("place")) else None

    def _most_bytes(self, sites: int) -> int:
        layouts = [exchange.layout for exchange in self.secured.exchanges(sites).values()]
        vector = max(layout.length * layout.dtype.itemsize for layout in layouts)
        # The sum with its carries is 1.25 vectors; beside it, at worst, a vector of each site that gave no sketch.
        return ROOM_BYTES + 2 * vector + sites * (vector + ROOM_A_SITE_BYTES)

    def _missing_transcript(self, request: Request) -> PolicyError:
        return PolicyError(
            "missing-transcript",
            f"{self._name}: asked for '{request.kind}' of round {request.round}, and has not been shown the sums from "
            f"which that follows. {REMEDY}",
        )

    def _does_not_follow(self, own_request: Request, request: Request) -> PolicyError:
        return PolicyError(
            "model-does-not-follow",
            f"{self._name}: asked for '{request.kind}' of round {request.round}, which does not follow from the sums "
            f"before it: {_difference(own_request, request)}. {REMEDY}",
        )


def _question(course: Course, place: Place) -> bytes:
    return answer_layout.question(course.request(place))


def _asks(course: Course, place: Place) -> tuple[str, bytes]:
    request = course.request(place)
    return request.kind, answer_layout.question(request)


def _difference(own_request: Request, request: Request) -> str:
    """The first thing in which two requests differ, for people."""
    if (own_request.kind, own_request.round) != (request.kind, request.round):
        return f"expected '{own_request.kind}' of round {own_request.round}"
    if dict(own_request.settings) != dict(request.settings):
        names = sorted({*own_request.settings, *request.settings})
        odd = next(name for name in names if own_request.settings.get(name) != request.settings.get(name))
        asked_value, own_value = request.settings.get(odd), own_request.settings.get(odd)
        return f"{odd} is {asked_value}, and {own_value} by this site's own configuration"
    for name in sorted({*own_request.tensors, *request.tensors}):
        one, other = own_request.tensors.get(name), request.tensors.get(name)
        if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
            return f"'{name}' is missing, or of another shape"
        if one.tobytes() != other.tobytes():
            return f"{int((one != other).sum())} of {one.size} numbers in '{name}' are others"
    return "its bytes are others"


def _whole_number(request: Request, name: str) -> int:
    value = request.settings.get(name)
    if not isinstance(value, int) or value < 0:
        raise WireError(f"a piece of a transcript without '{name}'.")
    return value
