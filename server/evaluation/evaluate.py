"""An evaluation: every model of a plan on the validation cases of every site, as sums; nothing is trained.

A model is a round: one question under secure aggregation, then the figures of the sites that publish theirs
(`common.plans.approvals` says when they may). What was done is written after every model, so a process that is
killed loses none. A model whose sum comes to nothing is asked again, a few times; then its row is empty.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from common import refusals
from common.algorithms import RoundTotal
from common.errors import QuorumError, SecAggError, WireError
from common.messages.transport import Request
from common.metrics import performance
from common.plans.approvals import Approvals, refuse_lone_figures
from common.plans.binding import ATTEMPTS
from common.plans.evaluated_model import EvaluatedModel
from common.plans.run_work import NO_ARRAYS, question_kinds
from common.plans.site_figures import ASKED, SiteFigures
from common.refusals import RefusedError, final
from common.storage import tensorfile
from common.storage.files import write_json
from common.types import Tensors, prefixed, under
from server.evaluation import model_store
from server.report import participation, report_file
from server.results import cross_site, outcome_counts, result_json
from server.rounds import checkpoint
from server.rounds.exchange import QuestionExchange, log
from server.rounds.round_record import RoundRecord
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts
from server.runs.driver import ConnectedTransport, until_there_is_room, wait_for_quorum
from server.runs.run import Run

AGAIN_S = 2.0


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation has come."""

    sums: dict[str, Tensors] = field(default_factory=dict)
    """By the model's SHA-256, outcomes counted over the sites; without an entry the row is empty."""
    cells: dict[tuple[str, str], Tensors] = field(default_factory=dict)
    """By model and site, what sites published."""
    records: tuple[RoundRecord, ...] = ()

    def save(self, path: Path, run: str) -> None:
        """Write the progress to a file, atomically."""
        tensors: Tensors = {}
        for model, counts in self.sums.items():
            tensors = {**tensors, **prefixed(f"sum/{model}", counts)}
        for (model, site), counts in self.cells.items():
            tensors = {**tensors, **prefixed(f"cell/{model}/{site}", counts)}
        cells = [list(cell) for cell in self.cells]
        header = {"sums": list(self.sums), "cells": cells, "records": [asdict(r) for r in self.records]}
        tensorfile.save(path, tensors, {"run": run, "done": json.dumps(header)})

    @classmethod
    def load(cls, path: Path, run: str) -> "EvaluationProgress":
        """As it was written last; nothing yet where there is none.

        Raises:
            RunError, WireError: for a file that is damaged, or another run's.
        """
        try:
            tensors, header = tensorfile.load(path)
        except FileNotFoundError:
            return cls()
        if header.get("run") != run:
            raise WireError(f"{path}: belongs to another run. Remove it, and evaluate again.")
        content = json.loads(header["done"])
        return cls(
            {model: under(f"sum/{model}", tensors) for model in content["sums"]},
            {(model, site): under(f"cell/{model}/{site}", tensors) for model, site in content["cells"]},
            tuple(checkpoint.record_of(r) for r in content["records"]),
        )


def evaluate(run: Run, transport: ConnectedTransport) -> Callable[[], object]:
    """All models that are left; returns what writes the result.

    Raises:
        PolicyError: if sites publish their figures so that too few others are left.
        QuorumError: if no model has a sum.
    """
    plan, sites = run.plan, transport.sites()
    path = run.folder / "evaluation.checkpoint"
    approvals = run.approvals
    refuse_lone_figures(sites, publishing := approvals.publishing, len(run.plan.content.cohort))
    aggregator = _aggregator(run, transport, approvals)
    progress = EvaluationProgress.load(path, plan.digest)
    for number, model in enumerate(plan.content.models):
        if number < len(progress.records):
            continue
        wait_for_quorum(run, transport, run.quorum)
        progress = _evaluate_model(run, aggregator, progress, (number, model), publishing)
        until_there_is_room(partial(progress.save, path, plan.digest))
        until_there_is_room(partial(run.remember, progress.records))
    if not progress.sums:
        last = progress.records[-1]
        if too_many := _refused_for_good(run, last.refused, len(sites)):
            raise RefusedError(too_many, len(sites))
        refusal, silent = refusals.sentence(last.refused, len(sites)), ", ".join(last.dropped)
        raise QuorumError(
            f"no sum of any model: each was asked for {ATTEMPTS} times at most, and too few sites answered. "
            f"{f'{refusal}. ' if refusal else ''}{f'Silent: {silent}.' if silent else ''}".strip()
        )
    return partial(_write_result, run, sites, publishing, progress)


def _aggregator(run: Run, transport: ConnectedTransport, approvals: Approvals) -> SecureSum:
    return SecureSum(
        transport, run.home.consortium, approvals, partial(question_kinds, approvals, NO_ARRAYS),
        transcripts=Transcripts(run.folder / "transcripts", retry=until_there_is_room),
        current_consortium=lambda: run.home.consortium,
    )  # fmt: skip


def _evaluate_model(
    run: Run,
    aggregator: SecureSum,
    progress: EvaluationProgress,
    which: tuple[int, EvaluatedModel],
    publishing: Sequence[str],
) -> EvaluationProgress:
    """One model: its sum, then what sites publish."""
    number, model = which
    started_s, timeout_s = time.monotonic(), run.plan.content.training.federation.timeout_s
    arrays, sites = model_store.arrays(run.home, model), aggregator.transport.sites()
    up = down = 0
    total = RoundTotal({}, (), sites)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(AGAIN_S)
        # A number of its own for each attempt: what became of an attempt is known by it after a crash.
        question = model.question(arrays, attempt * len(run.plan.content.models) + number)
        until_there_is_room(partial(run.begin_round, number))
        total = aggregator.total(question, sites, timeout_s)
        up, down = up + total.bytes_up, down + total.bytes_down
        if total.sums or _refused_for_good(run, total.refused, len(sites)):
            break
    cells = dict(progress.cells)
    if total.sums:
        exchange = QuestionExchange(aggregator.transport, question.round, timeout_s)
        published_counts = _publish(run, exchange, question, model, sorted(set(publishing) & set(total.sites)))
        cells |= {(model.sha256, site): counts for site, counts in published_counts.items()}
        up, down = up + exchange.bytes_up, down + exchange.bytes_down
    record = RoundRecord(
        number, time.monotonic() - started_s, up, down, total.sites, total.dropouts, not total.sums,
        validation=performance.summary_of_counts(total.sums) if total.sums else {}, refused=dict(total.refused),
    )  # fmt: skip
    sums = {**progress.sums, model.sha256: dict(total.sums)} if total.sums else progress.sums
    return EvaluationProgress(sums, cells, (*progress.records, record))


def _refused_for_good(run: Run, codes: Mapping[str, str], sites: int) -> dict[str, str]:
    """Refusals that stand however often a model is asked for, if without these sites there is no sum; else none."""
    for_good = final(codes, same_again=True)
    return for_good if len(for_good) > sites - run.quorum else {}


def _publish(
    run: Run, exchange: QuestionExchange, question: Request, model: EvaluatedModel, sites: Iterable[str]
) -> dict[str, Tensors]:
    """What the sites publish of a model; the signed documents are kept in the run's folder."""
    counts, keys = dict[str, Tensors](), run.home.identities()
    for site, message in exchange.ask(dict.fromkeys(sites, replace(question, kind=ASKED))):
        try:
            figures = SiteFigures.load_verified(bytes(message), keys[site], site, run.plan, model.sha256)
        except (KeyError, WireError, SecAggError) as error:
            log.warning("site %s: figures that cannot be used: %s", site, error)
            continue
        path = run.folder / "published" / f"{model.sha256[:16]}-{site}.json"
        until_there_is_room(partial(tensorfile.write_atomically, path, figures.document.encode()))
        counts[site] = figures.counts
    return counts


def _write_result(run: Run, sites: Sequence[str], publishing: Sequence[str], progress: EvaluationProgress) -> None:
    plan, rounds = run.plan.content, run.rounds()
    parts = participation.of_rounds(sites, rounds, len(rounds))
    points = {m.sha256: m.threshold for m in plan.models}
    names = {m.sha256: m.name for m in plan.models}
    cells: dict[str, dict[str, Any]] = {m.name: {} for m in plan.models}
    for (model, site), counts in progress.cells.items():
        cells[names[model]][site] = cross_site.cell(counts, points[model])
    result: dict[str, Any] = {
        "format": result_json.FORMAT,
        "kind": "evaluation",
        **run.about(participation.trainers(parts)),
        "participation": parts,
        "models": [
            {"name": m.name, "sha256": m.sha256, "kind": m.training.model.kind, "preprocess": m.recipe,
             "shape": list(m.shape), "threshold": m.threshold}
            for m in plan.models
        ],
        "cross_site": {
            "part": "validation",
            "models": [m.name for m in plan.models],
            "sites": list(publishing),
            "cells": cells,
            "all": {names[model]: cross_site.cell(counts, points[model]) for model, counts in progress.sums.items()},
        },
        "counts": {names[m]: outcome_counts.of_sum(counts, points[m]) for m, counts in progress.sums.items()},
        "rounds": rounds,
        "cost": result_json.cost(rounds),
        "secure_aggregation": result_json.sums_over(len(sites), run.plan.content),
        "release": plan.release,
        "code": plan.code,
        "versions": result_json.versions(),
    }  # fmt: skip
    report_file.write(run.folder / "report.html", result)
    write_json(run.folder / "result.json", result)
