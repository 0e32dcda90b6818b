"""A deployed run computed once more in this process: the same bits follow from its plan and from who was in each sum.

What a fault leaves behind is a sum over fewer sites, or none; a simulation has other faults, and so ends elsewhere. So
the simulation's loop is run with sums over just the sites that the run's records name. No keys, no masks, no network:
what those must not change is what is compared.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from client.home import Home as Hospital
from client.training import hospital_site
from client.training.site import Site
from common.algorithms import RoundTotal
from common.messages.answer_layout import completed, question, rounding_key
from common.messages.transport import Request
from common.plans.run_work import RunWork
from common.secagg.key_period_plan import QuestionKind
from common.storage import tensorfile
from server.rounds import loop
from server.runs.run import Run


@dataclass(frozen=True)
class RecordedSums:
    """An `Aggregator` over the sites that a run's records name."""

    sites: Mapping[str, Site]
    kinds: Mapping[str, QuestionKind]
    records: Mapping[int, Mapping[str, Any]]

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float) -> RoundTotal:
        """The sum as under masks: the same whole numbers, added."""
        record = self.records[request.round]
        names = [] if record["void"] else record["judges" if request.kind == "evaluate" else "sites"]
        dropped = tuple(sorted(set(cohort) - set(names)))
        if not names:
            return RoundTotal({}, (), dropped)
        layout, total = self.kinds[request.kind].layout, None
        for name in names:
            part, _ = self.sites[name].contribute(request, {})
            key = rounding_key(question(request), name)
            words = layout.encode(completed({**part.means, **part.sums}, layout), part.weight, key)
            total = words if total is None else np.add(total, words)
        return RoundTotal(layout.decode(total), tuple(names), dropped)


def weights_of(run: Run, hospitals: Mapping[str, Hospital]) -> str:
    """SHA-256 of the weights to which a finished run's records lead, as `weights_sha256` of its result."""
    approvals = run.approvals
    work = RunWork.of(approvals, run.carried_sums)
    sites = {name: hospital_site.prepare(hospitals[name], run.plan).site for name in approvals.sites}
    records = {record["round"]: record for record in run.rounds()}
    sums = RecordedSums(sites, work.question_kinds(len(approvals.sites)), records)
    state = loop.begin(work.course, sums)
    while state.round in records:
        state = loop.run_round(work.course, sums, state)
    return hashlib.sha256(tensorfile.pack(state.best, {})).hexdigest()
