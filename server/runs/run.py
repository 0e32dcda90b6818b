"""A run at the coordinator: its folder, where it stands, what the sites decided, what is being waited for.

plan.json       signed
decisions/      what each site said to it, signed
approvals.json  those that the run began with
carried.safetensors, summed.safetensors    sums that the plan carries from an earlier run; those that a later one may
state.json      waiting · running, then finished · failed · stopped; `stop` and `start-now` beside it ask for that
progress.json   the exchange at hand: what was asked, who has not answered, until when
begun.json      the last round that sites were asked in
rounds.jsonl    a line a round; log.jsonl what the ServerApp has to say
federated.checkpoint and its copy, model.safetensors, result.json
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from common.audit.entries import Outcome
from common.errors import AuditError, IdentityError, PlanError, RunError, WireError
from common.storage import tensorfile
from common.storage.files import glance, read_json, write_json
from common.storage.files import replace as replace_file
from server.consortium.home import Home
from server.rounds.round_record import RoundRecord
from server.runs import round_lines
from server.runs.run_lock import RunLock
from server.runs.run_state import RunState, Stage
from server.superlink.exchange_progress import ExchangeProgress

if TYPE_CHECKING:  # who looks where no run goes on does not wait for all that a plan can name
    from common.plans.approvals import Approvals
    from common.plans.decision import Decision
    from common.plans.plan import RunPlan
    from common.types import Tensors

log = logging.getLogger("consilium")

NOTHING: "Tensors" = {}


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    home: Home
    folder: Path

    @classmethod
    def begin(cls, home: Home, plan: "RunPlan", wait_s: float, sums: "Tensors" = NOTHING) -> Self:
        """A new run, which waits for the sites' decisions.

        Args:
            sums: the arrays that the plan carries from an earlier run.

        Raises:
            PlanError: if there is one of this plan.
        """
        run = cls(home, home.folder / "runs" / plan.name)
        if (run.folder / "plan.json").exists():
            raise PlanError(f"there is a run of this plan already: {run.folder}.")
        if sums:
            tensorfile.save(run.folder / "carried.safetensors", sums, {})
        run.write_state(RunState(begin_at_s=time.time() + wait_s))
        tensorfile.write_atomically(run.folder / "plan.json", plan.document.encode())
        return run

    @classmethod
    def all(cls, home: Home) -> Iterator[Self]:
        """Every run, oldest first."""
        runs = [cls(home, path.parent) for path in (home.folder / "runs").glob("*/plan.json")]
        yield from sorted(runs, key=lambda run: (run.plan.content.made_s, run.name))

    @classmethod
    def find(cls, home: Home, name: str = "") -> Self:
        """A run by its name, its plan's digest, or as much of either as is unique; without a name the latest.

        Raises:
            PlanError: if there is none, or several.
        """
        runs = list(cls.all(home))
        matches = [r for r in runs if r.name.startswith(name) or r.plan.digest.startswith(name)] if name else runs[-1:]
        if len(matches) != 1:
            names = ", ".join(r.name for r in (matches or runs)) or "none yet; submit one: python -m server run PLAN"
            raise PlanError(f"run {name!r}: {len(matches) or 'none'} of that name; there is: {names}.")
        return matches[0]

    @property
    def name(self) -> str:
        """Its name, which is the folder's."""
        return self.folder.name

    @property
    def plan(self) -> "RunPlan":
        """The signed plan of the run."""
        from common.plans.plan import RunPlan

        return self.home.pins.load_kept(RunPlan.load_verified, (self.folder / "plan.json").read_bytes())

    def about(self, sites: Sequence[str]) -> dict[str, Any]:
        """What every result of a run begins with."""
        plan = self.plan.content
        return {
            "name": self.name,
            "plan": self.plan.digest,
            "consortium": plan.consortium,
            "dataset": plan.dataset,
            "purpose": plan.purpose,
            "labels": list(plan.labels),
            "sites": list(sites),
            "asked": list(plan.cohort),
        }

    @property
    def state(self) -> RunState:
        """Where the run stands, as it was written last."""
        fields = read_json(self.folder / "state.json") or {}
        return RunState(**(fields | {"cohort": tuple(fields.get("cohort", ()))}))

    def write_state(self, state: RunState) -> RunState:
        """Write where it stands; returned as it was given."""
        write_json(self.folder / "state.json", asdict(state))
        return state

    def end(self, stage: Stage, why: str = "") -> RunState:
        """Write how it ended, and put it into the log."""
        state = self.write_state(replace(self.state, stage=stage, why=why, ended_s=time.time()))
        outcome: Outcome = "done" if stage == "finished" else "failed"
        try:
            self.home.log.record("run", outcome, plan=self.name, facts={"stage": stage, "rounds": len(self.rounds())})
        except AuditError as error:  # no round is begun after this; but a run must be able to end
            log.error("%s", error)
        return state

    @property
    def is_stop_requested(self) -> bool:
        """Whether somebody wants it to end."""
        return (self.folder / "stop").exists()

    def request_stop(self) -> None:
        """Say that it is to end; the scheduler sees to it."""
        (self.folder / "stop").touch()

    @property
    def is_start_requested(self) -> bool:
        """Whether it is to begin without those that have not decided, as soon as enough have approved."""
        return (self.folder / "start-now").exists()

    def request_start(self) -> None:
        """Say that it is to begin so; the scheduler sees to it."""
        (self.folder / "start-now").touch()

    @property
    def least_approvals(self) -> int:
        """How many sites must have approved for it to begin: more than two thirds of the plan's, and its quorum."""
        return max(self.home.roster.policy.n_min, self.quorum)

    @property
    def is_waiting_for_sites(self) -> bool:
        """Whether it goes on as soon as a site that is away is back: until then it takes nobody's time."""
        progress = self.progress()
        return progress is not None and progress.kind == "gather" and bool(progress.waiting)

    @property
    def lock(self) -> RunLock:
        """Held by the process that carries out the run."""
        return RunLock(self.folder / ".lock", self.name)

    def decisions(self) -> "dict[str, Decision]":
        """What the sites said, by name; what is damaged, or not under a site's key of today's roster, is not there."""
        from common.plans.decision import Decision

        keys, decisions = self.home.identities(), {}
        for site in sorted(set(keys) & set(self.plan.content.cohort)):
            try:
                decision = Decision.load_verified((self.folder / "decisions" / f"{site}.json").read_bytes(), keys[site])
            except (FileNotFoundError, WireError, IdentityError):
                continue
            if decision.plan == self.plan.digest and decision.site == site:
                decisions[site] = decision
        return decisions

    def begin_with(self, approving: "Mapping[str, Decision]") -> "Approvals":
        """Write down, for good, with which approvals the run begins.

        Raises:
            PolicyError: no run may begin with them.
        """
        from common.plans.approvals import Approvals

        approvals = Approvals(self.plan, approving)
        replace_file(self.folder / "approvals.json", approvals.encode())
        return approvals

    @property
    def approvals(self) -> "Approvals":
        """The approvals that the run began with.

        Raises:
            RunError: it has not begun, or the file is lost.
        """
        from common.plans.approvals import Approvals

        try:
            return Approvals.load((self.folder / "approvals.json").read_bytes(), self.plan)
        except FileNotFoundError:
            raise RunError(
                f"run {self.name}: no approvals.json: a run of release 0.1 or 0.2 cannot be continued. Draw up the "
                "plan again: python -m server run PLAN"
            ) from None

    @property
    def carried_sums(self) -> "Tensors":
        """The arrays that the plan carries from an earlier run; none where it carries none."""
        path = self.folder / "carried.safetensors"
        return tensorfile.load(path)[0] if path.exists() else {}

    @property
    def summed(self) -> "Tensors":
        """What this run has summed that a later one may carry, or has carried itself."""
        path = self.folder / "summed.safetensors"
        return {**self.carried_sums, **(tensorfile.load(path)[0] if path.exists() else {})}

    def keep_summed(self, arrays: "Tensors") -> None:
        """Write that down, where it has changed."""
        from common.plans import carry

        if carry.fingerprints({**self.carried_sums, **arrays}) != carry.fingerprints(self.summed):
            tensorfile.save(self.folder / "summed.safetensors", arrays, {})

    @property
    def quorum(self) -> int:
        """How many sites a round needs."""
        from common.secagg.key_period_plan import threshold

        plan = self.plan.content
        return max(plan.training.federation.quorum, threshold(len(plan.cohort)))

    # --- what the run leaves behind as it goes on ---

    def write_progress(self, progress: ExchangeProgress) -> None:
        """Write what is being waited for, for people; a disk that is full shall not stop what it tells of."""
        with suppress(OSError):
            write_json(self.folder / "progress.json", asdict(progress), durably=False)

    def write_missing(self, sites: Sequence[str]) -> None:
        """Write that too few sites are connected to go on."""
        self.write_progress(ExchangeProgress("gather", len(self.rounds()), tuple(sites), time.time(), 0.0))

    def progress(self) -> ExchangeProgress | None:
        """What is being waited for; None before the first exchange."""
        fields = glance(self.folder / "progress.json")
        return ExchangeProgress(**(fields | {"waiting": tuple(fields["waiting"])})) if fields else None

    @property
    def last_round(self) -> int:
        """The last round that sites were asked in, ended or not; -1 if none was."""
        content = read_json(self.folder / "begun.json")
        return int(content["round"]) if content else -1

    def begin_round(self, number: int) -> None:
        """Write down, durably, that sites are about to be asked in a round."""
        self.home.log.record("round", "begun", plan=self.name, facts={"round": number})
        write_json(self.folder / "begun.json", {"round": number})

    def remember(self, records: Sequence[RoundRecord]) -> None:
        """Add a line for every round that has none yet: the process may have been killed before it wrote the last."""
        numbers = {record["round"] for record in self.rounds()}
        new = [asdict(record) | {"at_s": time.time()} for record in records if record.round not in numbers]
        for fields in new:
            facts = {"round": fields["round"], "sites": len(fields["sites"])}
            self.home.log.record("round", "failed" if fields["void"] else "done", plan=self.name, facts=facts)
        round_lines.append(self.folder / "rounds.jsonl", new)

    def forget_rounds(self) -> None:
        """Remove the rounds: without a checkpoint a run begins again."""
        (self.folder / "rounds.jsonl").unlink(missing_ok=True)

    def rounds(self) -> list[dict[str, Any]]:
        """The records of all rounds so far."""
        return round_lines.read(self.folder / "rounds.jsonl")


def result_folder(home: Path, name: str) -> Path:
    """The folder that a run's result is in: the one named, or that of a run of the coordinator's.

    Raises:
        RunError: there is none.
    """
    if (Path(name) / "result.json").exists():
        return Path(name)
    if not home.exists():
        raise RunError(f"{name}: no folder with a result.json. Runs go by name with --home, the coordinator's folder.")
    return Run.find(Home.at(home), name).folder
