"""Five hospitals on small images behind secure aggregation, for the tests of the federation."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from client.training.auditing_site import AuditingSite
from client.training.run_binding import RunBinding, simulated_binding
from client.training.secure_site import SecuredSite
from client.training.site import Site
from common.algorithms.course import Course
from common.config import Config, Local
from common.errors import ConsiliumError
from common.imaging import Pipeline
from common.messages.transport import Answer, InMemory, Misfortunes, Reply, Request
from common.models import Model
from common.plans.run_work import RunWork
from common.plans.simulated_run import simulated_approvals
from common.trust.enrolment import simulated_consortium
from common.types import Cases, SiteCases, Tensors
from server.rounds import loop
from server.rounds.aggregation import Aggregator, PlainSum
from server.rounds.loop import LoopState
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts

SHAPE = (12, 12, 1)
ABOUT = (SHAPE, 2)
FIVE = {"a": 40, "b": 24, "c": 64, "d": 16, "e": 33}
SGD = Local(batch=16, steps=2, optimizer="sgd", learning_rate=0.05)


def cases(seed: int, n: int) -> Cases:
    """Bright upper halves are class 1."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    images = random.normal(0.4, 0.2, (n, *SHAPE))
    images[:, :6] += 0.25 * labels[:, None, None, None]
    return Cases(images.astype(np.float32), labels)


def config(model: str = "cnn", likeness: bool = False, **federation_: Any) -> Config:
    kind = {"kind": "cnn", "width": 4} if model == "cnn" else {"kind": "svm", "C": 0.1}
    data = {"kind": "synthetic", "sites": 5}
    return Config.model_validate(
        {
            "name": "t",
            "data": data,
            "sites": {"split": "natural"},
            "model": kind,
            "federation": federation_,
            "likeness": likeness,
        }
    )


class World:
    """Five hospitals, a consortium, and all that crosses between them and the coordinator."""

    least_active = 1
    """Sites this small have a handful of cases inside the margin, and would refuse."""

    def __init__(self, told: Config, sizes: Mapping[str, int] = FIVE, **misfortune: float) -> None:
        self.config, self.sent = told, list[tuple[str, Request, Reply]]()
        self.refusals = list[ConsiliumError]()
        self.pipeline = Pipeline(told.preprocess)
        self.parts = {
            name: SiteCases(name, cases(i, n), cases(i + 100, 12), cases(i + 200, 4))
            for i, (name, n) in enumerate(sizes.items())
        }
        self.consortium, enrolled = simulated_consortium(
            list(sizes), told.federation, b"the same keys in every process"
        )
        self.enrolled = enrolled
        enough = dict.fromkeys(sizes, 300)  # for second moments at 4 × 4 frequencies
        self.approvals = simulated_approvals(told, 1, (SHAPE, ("none", "some")), self.consortium, enrolled, enough)
        self.work = RunWork.of(self.approvals)
        self.model: Model = self.work.model
        self.secured = {name: SecuredSite(self.site(name), enrolled[name], self.binding(name)) for name in sizes}
        self.misfortunes = Misfortunes(**misfortune)  # type: ignore[arg-type]

    def site(self, name: str) -> Site:
        return Site(self.parts[name], self.pipeline, self.model, self.config.federation.local, self.least_active)

    def binding(self, name: str) -> RunBinding:
        return simulated_binding(self.approvals, name)

    def plain(self) -> PlainSum:
        return PlainSum(InMemory({n: self.site(n).answer for n in self.parts}, misfortunes=self.misfortunes))

    def secure(
        self,
        between: Callable[[str, Answer], Answer] = lambda name, answer: answer,
        transcripts: Transcripts | None = None,
    ) -> SecureSum:
        """`between` stands between a site and the wire."""
        answers = {name: self.heard(name, between(name, self.answer(name))) for name in self.secured}
        way = InMemory(answers, misfortunes=self.misfortunes)
        return SecureSum(way, self.consortium, self.approvals, self.work.question_kinds, transcripts)

    def answer(self, name: str) -> Answer:
        """A site as the wire finds it: it audits, or not."""
        if not self.enrolled[name].audit:
            return self.secured[name].answer
        return AuditingSite(self.secured[name]).answer

    def heard(self, name: str, answer: Answer) -> Answer:
        def listen(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            reply, state = answer(request, state)
            self.sent.append((name, request, reply))
            return reply, state

        return listen

    def run(self, aggregator: Aggregator, standing: LoopState | None = None) -> LoopState:
        *_, last = loop.run(self.course, aggregator, standing)
        return last

    @property
    def course(self) -> Course:
        return Course.of(self.config, self.model, 1, tuple(self.parts))

    def training(self, aggregator: Aggregator, round: int = 0) -> Any:
        return aggregator.total(self.asked(round), aggregator.transport.sites(), 1.0)

    def asked(self, round: int = 0) -> Request:
        return self.course.request(replace(self.course.start(), round=round))


def same_bits(one: Tensors, two: Tensors) -> bool:
    return set(one) == set(two) and all(np.array_equal(one[n], two[n]) for n in one)
