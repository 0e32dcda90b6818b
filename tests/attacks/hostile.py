"""A coordinator that keeps to no rule, and sites that have gone over to it.

It has all that a coordinator has: the signed roster, the signed plans, the sites' decisions; and no root key. It speaks
to real site folders in the requests that they answer, closes rounds with the real machines, and computes the sums. What
it proposes and asks is its own invention.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from flwr.app import Context, RecordDict

from client.app import ContextState
from client.home import Home as Hospital
from client.training.hospital_site import hospital_site
from common.algorithms.course import Course, Place
from common.errors import ConsiliumError, QuorumError
from common.messages import answer_layout
from common.messages.transport import Request
from common.models import Model, build
from common.plans import declarations
from common.plans.plan import RunPlan
from common.secagg import KeyPeriod, KeyPeriodOpening, Participant, QuestionKind, RoundOpening
from common.secagg.coordinator import CoordinatorMachine
from common.secagg.key_period_plan import KeyPeriodPlan, propose
from common.trust.keys import DIGEST_BYTES, digest
from common.trust.roster import load_verified_roster
from common.types import Tensors, prefixed
from server.runs.run import Run
from tests.attacks.hospitals import Hospitals

log = logging.getLogger("consilium")

NOTHING: Tensors = {}
T = TypeVar("T")


def forget(_: object) -> None:
    """A colluder remembers what it likes."""


@dataclass
class Colluder:
    """A site that helps the coordinator: it checks nothing, adds zeros, and signs whatever it is shown."""

    machine: Participant

    def answer(self, request: Request) -> bytes:
        """Its message at a step of the protocol; it does not audit."""
        if request.kind == "secagg/follow":
            return answer_layout.encode_number(answer_layout.AWAITS_NOTHING)
        content, step = request.tensors["message"].tobytes(), request.kind.removeprefix("secagg/")
        if step == "join":
            pending = self.machine.join(content, request.tensors["roster"].tobytes(), 0.0)
        elif step == "submit":
            asked = answer_layout.question(_inner(request))
            self.machine = self.machine.open(content, asked, 0.0)
            layout = self.machine.plan.question_kinds[self.machine.state.round.kind].layout
            pending = self.machine.submit(np.zeros(layout.length, layout.dtype))
        else:
            pending = getattr(self.machine, step)(content)
        machine, message = pending.commit(forget)
        self.machine = replace(machine, state=replace(machine.state, questions={}))  # it answers again what it likes
        return bytes(message)


@dataclass
class HostileCoordinator:
    """Asks what it likes of whom it likes.

    Args:
        colluding: sites that have gone over to it.
    """

    hospitals: Hospitals
    plan: RunPlan
    colluding: Sequence[str] = ()
    decisions: bytes = b""
    """All decisions, in an evaluation; nothing in a training."""
    config: bytes = b""
    """What key periods are for; empty: the plan's digest, as the honest coordinator has it."""
    run: bytes = bytes(16)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    """Site, step and code of every refusal."""
    asked: list[Request] = field(default_factory=list)
    """What it asked while it was honest."""
    unheard: frozenset[str] = frozenset()
    """Sites that it calls silent: what they send is thrown away."""
    _number: int = 0
    _colluders: dict[str, Colluder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pins = self.hospitals.home.pins
        for name in self.colluding:
            self._colluders[name] = Colluder(Participant(name, self.hospitals.identity(name), pins))

    # --- what follows from the plan, which an honest coordinator would ask ----------------------------------------

    @property
    def model(self) -> Model:
        """The plan's model."""
        content = self.plan.content
        training = content.training
        return build(training.model_for(training.seeds[0]), content.shape, len(content.labels), training.augment)

    @property
    def course(self) -> Course:
        """What the plan lays down."""
        content = self.plan.content
        return Course.of(content.training, self.model, content.training.seeds[0], content.cohort)

    def honest_training(self, recipe: Tensors = NOTHING) -> Request:
        """The first question of the rounds."""
        course = self.course
        return course.request(Place("train", 0, course.algorithm.start(), recipe))

    def kinds(self, sites: int) -> dict[str, QuestionKind]:
        """The layouts for so many sites."""
        content = self.plan.content
        if content.models:
            most = content.training.federation.weight_bound
            return answer_layout.evaluation(most, len(content.labels), sites, self.plan.looks)
        return answer_layout.exchanges(content.training, self.model, content.shape, len(content.labels), sites)

    # --- the protocol, as a coordinator speaks it -----------------------------------------------------------------

    def send(self, site: str, request: Request) -> bytes | None:
        """One request to one site; its message, or nothing where it refuses."""
        if site in self._colluders:
            return self._colluders[site].answer(request)
        try:
            return tell(self.hospitals.sites[site], self.plan, request)
        except ConsiliumError as error:
            self.refused.append((site, request.kind, getattr(error, "cause", error.code)))
            log.info("%s: %s: %s", site, request.kind, error)
            return None

    @property
    def last_number(self) -> int:
        """Of the newest key period that it began."""
        return self._number - 1

    def follow(self, names: Iterable[str], place: Place | None = None) -> dict[str, bytes]:
        """Ask sites whether they audit a run of these sites; tell them where it stands."""
        tensors = {"message": as_bytes("\n".join(sorted(names)).encode())}
        tensors |= prefixed("place", place.tensors()) if place else {}
        answers = {site: self.send(site, Request("secagg/follow", 0, tensors)) for site in sorted(names)}
        return {site: answer for site, answer in answers.items() if answer is not None}

    def begin(self, cohort: Sequence[str], **changes: Any) -> KeyPeriod:
        """A key period with whom it likes.

        Args:
            changes: of the proposal's fields, as `KeyPeriodPlan` has them.

        Raises:
            QuorumError: too few sites join.
        """
        roster_file = self.hospitals.home.consortium.roster
        roster = load_verified_roster(roster_file, self.hospitals.home.pins)
        names = tuple(sorted(cohort))
        proposal: KeyPeriodPlan = propose(
            roster, run=self.run, number=self._number, config=self.config or self.plan.document.digest,
            purpose="training", cohort=names, rounds=32, exchanges=self.kinds(len(names)),
        )  # fmt: skip
        self._number += 1
        opening = KeyPeriodOpening(replace(proposal, **changes), roster)
        self._step(opening, "join", {"roster": as_bytes(roster_file), **self._attachments()})
        self._step(opening, "share")
        self._step(opening, "take")
        return opening.key_period()

    def _attachments(self) -> Tensors:
        """What every site is handed at `join` beside roster and proposal."""
        return {declarations.NAME: as_bytes(self.decisions)} if self.decisions else {}

    def submit(self, period: KeyPeriod, request: Request, slot: int = 0) -> RoundOpening:
        """Ask a question of a key period's sites; the round, with the masked vectors that came.

        Raises:
            QuorumError: too few sites answer.
        """
        kind, question = answer_layout.question_kind(request), answer_layout.question(request)
        opening = RoundOpening(period, slot, kind, question)
        self._step(opening, "submit", request.tensors, {**request.settings, "asked": request.kind}, request.round)
        return opening

    def close(self, opening: RoundOpening) -> Tensors:
        """Agree and release: the sum.

        Raises:
            QuorumError: too few sites sign, or release their shares.
        """
        self._step(opening, "agree")
        self._step(opening, "release")
        layout = opening.plan.question_kinds[opening.kind].layout
        return layout.decode(opening.total().words)

    def sum(self, cohort: Sequence[str], request: Request, **changes: Any) -> Tensors:
        """A key period and one question, from beginning to end."""
        return self.close(self.submit(self.begin(cohort, **changes), request))

    def _step(
        self, machine: CoordinatorMachine, step: str, tensors: Tensors = NOTHING,
        settings: Mapping[str, float | int | str] | None = None, round: int = 0,
    ) -> None:  # fmt: skip
        for site, content in machine.requests().items():
            request = Request(f"secagg/{step}", round, {**tensors, "message": as_bytes(content)}, settings or {})
            message = self.send(site, request)
            if message is not None and (site not in self.unheard or step != "submit"):
                machine.receive(message)
        machine.close()

    # --- how it ended ---------------------------------------------------------------------------------------------

    def attempt(self, attack: Callable[[], T]) -> T | None:
        """What an attack comes to; nothing where too few sites take part in it."""
        with suppress(QuorumError):
            return attack()
        return None

    def remembered(self) -> dict[str, bytes]:
        """What the honest sites' machines remember, by file: the same as before where no key was made."""
        homes = [home.folder for name, home in self.hospitals.sites.items() if name not in self.colluding]
        names = "state", "ledger"
        return {str(path): path.read_bytes() for home in homes for name in names for path in home.rglob(name)
                if path.is_file()}  # fmt: skip

    def codes(self, step: str = "") -> dict[str, str]:
        """The first refusal of every site, at any step or at this one."""
        first: dict[str, str] = {}
        for site, at, code in self.refused:
            if not step or at == f"secagg/{step}":
                first.setdefault(site, code)
        return first


def tell(site: Hospital, plan: RunPlan, request: Request) -> bytes:
    """One request to a site's folder, as its node hands it over.

    Raises:
        ConsiliumError: the site refuses.
    """
    node = hospital_site(site, plan.digest)
    reply, _ = node.answer(request, ContextState(Context(7, 0, {}, RecordDict(), {})))
    return reply.sums["message"].tobytes()


def declared(hospitals: Hospitals, run: Run) -> tuple[bytes, bytes]:
    """All decisions on an evaluation, and the configuration of its key periods."""
    decisions = run.decisions()
    return declarations.encode_decisions(decisions), declarations.decisions_digest(run.plan, decisions)


def invented(*parts: bytes) -> bytes:
    """A run's or a configuration's name of the coordinator's own making."""
    return digest("invented", *parts)[:DIGEST_BYTES]


def as_bytes(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bytes as a request carries them."""
    return np.frombuffer(content, np.uint8)


def cosine(one: Tensors, other: Tensors) -> float:
    """Of two sets of arrays of the same names, flattened."""
    a, b = (np.concatenate([np.ravel(part[name]) for name in sorted(one)]).astype(np.float64) for part in (one, other))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _inner(request: Request) -> Request:
    tensors = {name: value for name, value in request.tensors.items() if name != "message"}
    settings = {name: value for name, value in request.settings.items() if name != "asked"}
    return Request(str(request.settings["asked"]), request.round, tensors, settings)
