"""A coordinator that keeps to no rule, and sites that have gone over to it.

It has all that a coordinator has: the signed roster, the signed plans, the sites' approvals; and no root key. It speaks
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
from common.messages.transport import Request
from common.plans import approvals as approval_papers
from common.plans import binding, carry
from common.plans import lineage as lineages
from common.plans.approvals import Approvals
from common.plans.plan import RunPlan
from common.plans.run_work import RunWork, question_kinds
from common.secagg.coordinator import CoordinatorMachine
from common.secagg.key_period import KeyPeriod, KeyPeriodOpening
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind, threshold
from common.secagg.participant import Participant
from common.secagg.round import RoundOpening
from common.trust.roster import Roster, load_verified_roster
from common.types import Tensors, prefixed
from tests.attacks.colluder import Colluder
from tests.attacks.hospitals import Hospitals

log = logging.getLogger("consilium")

NOTHING: Tensors = {}
T = TypeVar("T")


@dataclass
class HostileCoordinator:
    """Asks what it likes of whom it likes.

    Args:
        approvals: with which the run begins, as an honest coordinator would have it.
        colluding: sites that have gone over to it.
        carried: the arrays that the plan carries.
    """

    hospitals: Hospitals
    approvals: Approvals
    colluding: Sequence[str] = ()
    carried: Tensors = field(default_factory=dict)
    shown: bytes = b""
    """What it shows in the place of the approvals; empty: the approvals."""
    lineage: bytes = b""
    """Of all sums so far."""
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    """Site, step and code of every refusal."""
    asked: list[Request] = field(default_factory=list)
    """What it asked while it was honest."""
    unheard: frozenset[str] = frozenset()
    """Sites that it calls silent: what they send is thrown away."""
    number: int = 0
    """Of the next key period."""
    _colluders: dict[str, Colluder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pins, self.lineage = self.hospitals.home.pins, self.lineage or lineages.start(self.approvals)
        for name in self.colluding:
            self._colluders[name] = Colluder(Participant(name, self.hospitals.identity(name), pins))

    # --- what follows from the plan, which an honest coordinator would ask ----------------------------------------

    @property
    def plan(self) -> RunPlan:
        """What was signed."""
        return self.approvals.plan

    @property
    def course(self) -> Course:
        """What the plan lays down."""
        return RunWork.of(self.approvals, self.carried).course

    def honest_training(self, recipe: Tensors = NOTHING) -> Request:
        """The first question of the rounds."""
        course = self.course
        return course.request(Place("train", 0, course.algorithm.start(), recipe))

    def kinds(self, sites: int) -> dict[str, QuestionKind]:
        """The layouts for so many sites."""
        return question_kinds(self.approvals, self.carried, sites)

    def roster(self) -> Roster:
        """As it is now."""
        return load_verified_roster(self.hospitals.home.consortium.roster, self.hospitals.home.pins)

    def proposal(self, cohort: Sequence[str] = (), drawn: Sequence[str] = ()) -> KeyPeriodPlan:
        """The plan of the next key period, as it follows from what was signed.

        Args:
            cohort: whom it would rather have in it, and with the layouts and the threshold that they would have.
            drawn: the honest draw of a round.
        """
        roster, sites = self.roster(), tuple(drawn) or self.approvals.sites
        kinds = self.kinds(len(binding.remaining(sites, roster)))
        derived = binding.key_period_plan(self.approvals, roster, self.number, sites, kinds)
        self.number += 1
        names = tuple(sorted(cohort))
        if not names or names == derived.cohort:
            return derived
        kinds = dict(sorted(self.kinds(len(names)).items()))
        return replace(derived, cohort=names, threshold=threshold(len(names)), question_kinds=kinds)

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

    def papers(self) -> Tensors:
        """What every site is handed at `follow` and `join`."""
        files = {"roster": self.hospitals.home.consortium.roster}
        files[approval_papers.NAME] = self.shown or self.approvals.encode()
        return {name: as_bytes(content) for name, content in files.items()} | prefixed(carry.NAME, self.carried)

    def follow(self, names: Iterable[str], **more: Tensors) -> dict[str, bytes]:
        """Show sites how the run begins; the questions that they await.

        Args:
            more: other arrays that it would have them believe, by group.
        """
        tensors = self.papers()
        for group, arrays in more.items():
            tensors |= prefixed(group, arrays)
        answers = {site: self.send(site, Request("secagg/follow", 0, tensors)) for site in sorted(names)}
        return {site: answer for site, answer in answers.items() if answer is not None}

    def begin(self, cohort: Sequence[str] = (), drawn: Sequence[str] = (), **changes: Any) -> KeyPeriod:
        """A key period with whom it likes.

        Args:
            cohort, drawn: as `proposal`.
            changes: of the proposal's fields, as `KeyPeriodPlan` has them.

        Raises:
            QuorumError: too few sites join.
        """
        opening = KeyPeriodOpening(replace(self.proposal(cohort, drawn), **changes), self.roster())
        self._step(opening, "join", self.papers())
        self._step(opening, "share")
        self._step(opening, "take")
        return opening.key_period()

    def submit(self, period: KeyPeriod, request: Request, slot: int = 0) -> RoundOpening:
        """Ask a question of a key period's sites; the round, with the masked vectors that came.

        Raises:
            QuorumError: too few sites answer.
        """
        opening = RoundOpening(period, slot, request.kind, lineages.question(request, self.lineage))
        settings = {**request.settings, "asked": request.kind, "lineage": self.lineage.hex()}
        self._step(opening, "submit", request.tensors, settings, request.round)
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


def as_bytes(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bytes as a request carries them."""
    return np.frombuffer(content, np.uint8)
