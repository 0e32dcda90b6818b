"""A site that follows its run: it recomputes every model from the sums, and answers for no other.

    secagg/follow   the run's approvals; which question's transcript the site awaits
    secagg/audit    the transcript of a question, in pieces: audited, added up, and taken into the course
    secagg/submit   what is asked must be what follows; else nothing is sent. The transcript of the question before may
                    come with it, and is audited first

Between two questions the site is at a `Place`. A transcript takes it to the next one; questions that came to nothing
leave the model as it is and need no transcript, unless this site has released its shares: then it is owed an account.
A site that comes late, or was restored, is shown every transcript from the first one on: it believes no model.

With the place goes the lineage, a digest of all sums so far. It is part of what every mask of the next question depends
on, so sites that saw different histories make no sum together.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.training.audit_store import AuditNotes, AuditStateStore, AuditStore, FolderStore
from client.training.protocol_message import MESSAGE, bytes_in, page_in, question_in
from client.training.question_difference import difference
from client.training.secure_site import SecuredSite
from common.algorithms import RoundTotal
from common.algorithms.course import VOID, Course, Place, number
from common.errors import PolicyError, WireError
from common.messages import answer_layout
from common.messages.answer_layout import encode_number
from common.messages.transport import Reply, Request
from common.plans import binding
from common.plans import lineage as lineages
from common.plans.approvals import Approvals
from common.plans.run_work import RunWork
from common.privacy.price_list import is_noised
from common.secagg.audit import replay_transcript
from common.secagg.transcript import read_frames
from common.secagg.transcript_reading import TranscriptAccount
from common.types import Tensors, prefixed, under

log = logging.getLogger("consilium")

PREFIX = "lineage"
ROOM_BYTES, ROOM_A_SITE_BYTES = 2**24, 2**20
"""What a transcript may hold beside the vectors: roster and plan; keys, signatures and shares of each site."""
REMEDY = "Nothing was sent. Tell the consortium: the coordinator asks what the signed plan does not."


@dataclass
class AuditingSite:
    """Stands before a secured site.

    Args:
        folder: where to keep what it follows by; none: in the state that `answer` takes and gives.
    """

    secured: SecuredSite
    folder: Path | None = None

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Take one step of the protocol.

        Raises:
            PolicyError: for a question that does not follow from the sums before it, and for a transcript that does not
                hold; and all that `SecuredSite` and `common.secagg.audit` raise. Nothing leaves then.
        """
        site_state: Tensors = {name: value for name, value in state.items() if not name.startswith(PREFIX + "/")}
        after, inside = site_state, AuditStateStore(under(PREFIX, state))
        store: AuditStore = FolderStore(self.folder) if self.folder else inside
        if request.kind in ("secagg/follow", "secagg/audit"):
            step = self._follow if request.kind == "secagg/follow" else self._audit
            reply = Reply({MESSAGE: np.frombuffer(encode_number(step(request, store)), np.uint8)})
        elif request.kind == "secagg/submit":
            if page := page_in(request):
                self._audit(page, store)
            self._check(request, store)
            lineage = self._lineage(store)
            # Once more when nobody else can change anything; what is answered is noted before it leaves.
            message, after = self.secured.submit(
                request, site_state, lineage, lambda: self._check(request, store).save(store)
            )
            reply = Reply({MESSAGE: np.frombuffer(message, np.uint8)})
        elif request.kind == "secagg/release":
            message, after = self.secured.release(
                request, site_state, lambda context: self._note_release(store, context)
            )
            reply = Reply({MESSAGE: np.frombuffer(message, np.uint8)})
        else:
            reply, after = self.secured.answer(request, site_state)
        if after is site_state and not inside.is_changed:
            return reply, state
        return reply, {**after, **prefixed(PREFIX, inside.arrays)}

    # --- the run's beginning --------------------------------------------------------------------------------------

    def _follow(self, request: Request, store: AuditStore) -> int:
        """The number of the question whose transcript is awaited."""
        approvals = self.secured.begin(request)
        return self._place(store, self._course(approvals)).number

    # --- what is asked --------------------------------------------------------------------------------------------

    def _check(self, request: Request, store: AuditStore) -> AuditNotes:
        """Hold a question against the one that follows; what to note when it is answered."""
        inner, notes, approvals = question_in(request), AuditNotes.load(store), self._approvals()
        question_number, course = number(inner.kind, inner.round), self._course(approvals)
        place = self._place(store, course)
        if notes.due(place.number, question_number):
            raise self._missing_transcript(inner)
        if question_number < notes.asked or (question_number == notes.asked and is_answered_once(inner.kind)):
            raise PolicyError(
                "replayed-number",
                f"{self._name}: asked for '{inner.kind}' of round {inner.round}, and has answered question "
                f"{notes.asked} before; expected a later one than {question_number}. {REMEDY}",
            )
        is_past = inner.kind != "statistics" and inner.round >= course.plan.rounds
        if is_past or (question_number >= place.number and course.over(place)):
            raise PolicyError(
                "run-is-over",
                f"{self._name}: asked for '{inner.kind}' of round {inner.round}, and the run is over: "
                f"its rounds are done, or no evaluation was better for as long as federation.patience says. {REMEDY}",
            )
        reached = course.reached(place, question_number)
        if reached is None or answer_layout.content(course.request(reached)) != answer_layout.content(inner):
            if question_number > place.number:
                raise self._missing_transcript(inner)
            raise self._does_not_follow(course.request(reached or place), inner)
        period = self.secured.keeper.participant
        if (cohort := binding.remaining(course.cohort(reached), period.roster)) != period.plan.cohort:
            raise PolicyError(
                "other-cohort",
                f"{self._name}: asked for '{inner.kind}' of round {inner.round} under keys for "
                f"{', '.join(period.plan.cohort)}; it is for {', '.join(cohort)}. {REMEDY}",
            )
        return replace(notes, asked=question_number)

    def _note_release(self, store: AuditStore, context: bytes) -> None:
        # Before the shares leave, so that a crash cannot make the site forget that an account is due.
        notes = AuditNotes.load(store)
        replace(notes, owed={**notes.owed, notes.asked: context.hex()}).save(store)

    def is_beginning(self) -> bool:
        """Whether the question that was answered last is at the weights that the training begins from."""
        store = FolderStore(self.folder) if self.folder else AuditStateStore({})
        course = self._course(self._approvals())
        place = course.reached(self._place(store, course), AuditNotes.load(store).asked)
        return place is None or (place.asks == "train" and not course.moved(course.start(), place))

    # --- what came of it ------------------------------------------------------------------------------------------

    def _audit(self, request: Request, store: AuditStore) -> int:
        """Take a piece of a transcript; with the last one, take the step that follows from it."""
        # One step: what it reads, nobody else changes meanwhile.
        with self.secured.ledger.lock(), self.secured.store.lock():  # always in this order
            return self._take_piece(request, store)

    def _take_piece(self, request: Request, store: AuditStore) -> int:
        notes, piece = AuditNotes.load(store), bytes_in(request, MESSAGE)
        question_number, at, size = (_whole_number(request, name) for name in ("number", "at", "of"))
        approvals = self._approvals()
        course = self._course(approvals)
        place = self._place(store, course)
        if question_number < place.number:  # it was seen, and the answer was lost
            return place.number
        limit = self._most_bytes(len(approvals.sites))
        if size > limit or at + len(piece) > size:
            raise PolicyError("oversized-transcript", f"a transcript of {size} bytes, expected {limit} at most.")
        if store.add(at, piece) < size:
            return place.number
        try:
            with store.transcript() as file:
                context = bytes.fromhex(notes.owed[question_number]) if question_number in notes.owed else None
                record = replay_transcript(read_frames(file), self.secured.enrolment.pins, context=context)
        finally:
            store.clear()
        reached = self._next_place(course, place, question_number, record, store)
        owed = {owing: context for owing, context in notes.owed.items() if owing != question_number}
        after, lineage = course.after(reached, self._total(reached, record)), self._lineage(store)
        if record.total is not None:
            self._remember(course.request(reached), record)
            lineage = lineages.following(record.context, record.total.survivors, record.total.words)
        if set(summed := course.to_carry(after)) != set(course.to_carry(reached)):
            store.save("summed", summed)
        # The place goes with the lineage, in one file: after a crash between two they would not fit together.
        store.save("place", {**after.tensors(), "lineage": np.frombuffer(lineage, np.uint8)})
        replace(notes, owed=owed, roster=record.roster.version).save(store)
        return after.number

    def _next_place(
        self, course: Course, place: Place, question_number: int, record: TranscriptAccount, store: AuditStore
    ) -> Place:
        """The place whose question a transcript is of, if that is the one that comes next, by the signed plan."""
        reached, notes = course.reached(place, question_number), AuditNotes.load(store)
        if notes.due(place.number, question_number):
            raise self._missing_transcript(course.request(reached or place))
        lineage, approvals = self._lineage(store), self._approvals()
        self.secured.binding.check(record.plan, approvals, record.roster)
        if reached is None or (record.start.kind, record.start.question) != _asks(course, reached, lineage):
            raise PolicyError(
                "replayed-transcript",
                f"{self._name}: a transcript of another question than the one that comes next. {REMEDY}",
            )
        if record.plan.cohort != binding.remaining(course.cohort(reached), record.roster):
            raise PolicyError("other-cohort", f"{self._name}: a sum over other sites than the run asks in this round.")
        if record.roster.version < notes.roster:
            raise PolicyError("rolled-back-roster", f"{self._name}: a transcript under an older roster than before it.")
        return reached

    def _total(self, reached: Place, record: TranscriptAccount) -> RoundTotal:
        if record.total is None:
            log.warning(
                "%s: '%s' of round %d was void after shares were released (%s)%s", self._name, record.start.kind,
                reached.round, record.failure,
                f"; none are shown of {', '.join(record.withholders)}" if record.withholders else "",
            )  # fmt: skip
            return VOID
        sums = record.plan.question_kinds[record.start.kind].layout.decode(record.total.words)
        dropouts = tuple(site for site in record.plan.cohort if site not in record.total.survivors)
        return RoundTotal(sums, record.total.survivors, dropouts)

    def _remember(self, request: Request, record: TranscriptAccount) -> None:
        """A sum that this site is in was told, whether or not it was asked for its shares."""
        if record.total is not None and self._name in record.total.survivors:
            over = self._approvals().data_of(record.total.survivors)
            keys = self.secured.binding.answer_keys(request)
            self.secured.ledger.record(keys, over, self.secured.binding.plan.digest)

    # --- in short -------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self.secured.name

    def _approvals(self) -> Approvals:
        return self.secured.binding.begun_approvals()

    def _course(self, approvals: Approvals) -> Course:
        return RunWork.of(approvals, self.secured.binding.papers.carried_sums()).course

    def _place(self, store: AuditStore, course: Course) -> Place:
        return Place.of(arrays) if (arrays := store.load("place")) else course.start()

    def _lineage(self, store: AuditStore) -> bytes:
        arrays = store.load("place")
        return arrays["lineage"].tobytes() if arrays else lineages.start(self._approvals())

    def _most_bytes(self, sites: int) -> int:
        layouts = [exchange.layout for exchange in self.secured.binding.question_kinds(sites).values()]
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
            f"before it: {difference(own_request, request)}. {REMEDY}",
        )


def _asks(course: Course, place: Place, lineage: bytes) -> tuple[str, bytes]:
    request = course.request(place)
    return request.kind, lineages.question(request, lineage)


def is_answered_once(kind: str) -> bool:
    """Whether a question of a kind is never answered again: twice the same training, or twice fresh noise."""
    return kind == "train" or is_noised(kind)


def _whole_number(request: Request, name: str) -> int:
    value = request.settings.get(name)
    if not isinstance(value, int) or value < 0:
        raise WireError(f"a piece of a transcript without '{name}'.")
    return value
