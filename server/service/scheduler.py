"""What `python -m server start` does beside keeping processes alive: registers sites, begins runs, begins them again.

A run of ours outlives the runs of Flower that carry it: when the ServerApp, the SuperExec or the whole coordinator was
killed, another Flower run goes on from the checkpoint.
"""

import json
import logging
import os
import signal
import time
from dataclasses import dataclass, field, replace

from common.errors import ConfigError, ConsiliumError, PolicyError
from common.plans.decision import Decision
from common.storage.files import read_json, write_json
from server.consortium.home import Home
from server.runs.run import Run
from server.runs.run_state import OVER
from server.runs.site_reports import SiteReports
from server.service.turns import Turns, shares
from server.superlink.control import ControlApi, bundle

log = logging.getLogger("consilium")

FLOWER_ENDED = ("finished",)
"""How Flower calls a run that is over, however it ended."""
GONE_AFTER_S = 20.0
"""A Flower run whose ServerApp has not shown up after so long is begun again; the next is given as much more, since on
a busy machine it would be ended each time before it has started."""
MOST_GONE_AFTER_S = 300.0
MOST_WAIT_S = 60.0


@dataclass
class Scheduler:
    """Registers sites at the SuperLink, begins, watches and stops runs: one turn after the other, a second apart."""

    home: Home
    control: ControlApi
    _submitted_s: dict[str, float] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)
    """Runs whose process has shown up since they were submitted."""
    _last_turns: str = ""
    _unfit: set[str] = field(default_factory=set)
    """Sites whose node the SuperLink does not take; said once."""

    def turn(self) -> None:
        """Bring every run one step on.

        Raises:
            ConsiliumError: what is wrong with a document in the folder; OSError and others: the SuperLink is away.
        """
        self._register()
        live = [run for run in Run.all(self.home) if run.state.stage not in OVER]
        for run in live:
            if run.is_stop_requested:
                self._stop(run)
        running = [run for run in live if run.state.stage == "running"]
        for run in running:
            self._watch(run)
        active = {run.name: run.state.cohort for run in running if not run.is_waiting_for_sites}
        ready = [(run, approving) for run in live if (approving := self._approving(run))]
        reports, sites = SiteReports(self.home), {site for _, approving in ready for site in approving}
        turns, full_sites = Turns(active.values(), {site: reports.limit(site) for site in sites}), {}
        for run, approving in ready:
            if full := turns.take(tuple(approving)):
                full_sites[run.name] = full
            elif self._begin(run, approving):
                self._submit(run)
                active[run.name] = run.state.cohort
        self._write_turns(active, full_sites)

    def _write_turns(self, active: dict[str, tuple[str, ...]], full_sites: dict[str, tuple[str, ...]]) -> None:
        """For the runs' processes, and for `status`."""
        content = {"shares": shares(active), "full": full_sites, "active": active}
        if (text := json.dumps(content)) != self._last_turns:
            write_json(self.home.live / "turns.json", content, durably=False)
            self._last_turns = text

    def _register(self) -> None:
        """The SuperLink knows the nodes of the active members, and no others."""
        registered, members = self.control.nodes(), self.home.nodes()
        for key in set(registered) - set(members):
            self.control.unregister(registered[key].id)
        ids = {}
        requests = self.home.requests()
        for key, site in members.items():
            try:
                ids[site] = registered[key].id if key in registered else self.control.register(requests[site].node)
                self._unfit.discard(site)
            except ConfigError as error:  # one site that cannot be let in does not keep the others out
                if site not in self._unfit:
                    log.error("site %s: %s", site, error)
                self._unfit.add(site)
        if read_json(self.home.live / "nodes.json") != ids:
            write_json(self.home.live / "nodes.json", ids)

    def _approving(self, run: Run) -> dict[str, Decision]:
        """Who approved, where a run may begin: all have decided, or the time for it is over. A run that cannot begin
        any more is ended."""
        state, plan = run.state, run.plan.content
        if state.stage != "waiting" or run.is_stop_requested:
            return {}
        if time.time() >= plan.expires_s:
            run.end("failed", "the plan expired before enough sites had approved it.")
            return {}
        decisions = run.decisions()
        approving = {site: decision for site, decision in decisions.items() if decision.verdict == "approve"}
        undecided = set(plan.cohort) & set(self.home.identities()) - set(decisions)
        if undecided and time.time() < state.begin_at_s and not run.is_start_requested:
            return {}
        if len(approving) < (least := run.least_approvals):
            if not undecided:
                run.end("failed", f"{len(approving)} of {len(plan.cohort)} sites approved, expected {least} at least.")
            return {}
        return approving

    def _begin(self, run: Run, approving: dict[str, Decision]) -> bool:
        """Write down with whom a run begins; one that cannot is ended."""
        try:
            cohort = run.begin_with(approving).sites
        except PolicyError as error:
            run.end("failed", str(error))
            return False
        run.write_state(replace(run.state, cohort=cohort, started_s=time.time()))
        return True

    def _submit(self, run: Run) -> None:
        state = run.state
        number = self.control.submit(bundle(), {"home": str(self.home.folder.resolve()), "plan": run.plan.digest})
        run.write_state(replace(state, stage="running", flower_run=number, attempts=state.attempts + 1))
        self._submitted_s[run.name] = time.monotonic()
        self._started.discard(run.name)
        log.info("run %s: %s", run.name, "begun" if not state.attempts else "goes on from its last round")

    def _watch(self, run: Run) -> None:
        """Begin a run again whose process is gone."""
        state, since = run.state, self._submitted_s.get(run.name)
        if state.stage in OVER:
            return
        if run.lock.holder() is not None:
            self._started.add(run.name)
            return
        has_ended = self.control.runs().get(state.flower_run, "finished").startswith(FLOWER_ENDED)
        patience_s = min(MOST_GONE_AFTER_S, GONE_AFTER_S * max(1, state.attempts))
        is_starting = since is not None and run.name not in self._started and time.monotonic() - since < patience_s
        if is_starting and not has_ended:
            return
        if run.state.stage in OVER:  # it ended while we looked
            return
        self._end_flower_run(run)
        try:
            _ = run.approvals
        except ConsiliumError as error:  # of an older release, or damaged: no site would answer
            run.end("failed", str(error))
            log.error("%s", error)
            return
        log.warning("run %s: its process is gone; beginning it again", run.name)
        pause = min(MOST_WAIT_S, 2.0 ** max(0, state.attempts - 5)) if state.attempts > 5 else 0.0
        if since is None or time.monotonic() - since >= pause:
            self._submit(run)

    def _stop(self, run: Run) -> None:
        self._end_flower_run(run)
        run.end("stopped", "stopped by the coordinator.")
        log.info("run %s: stopped", run.name)

    def _end_flower_run(self, run: Run) -> None:
        if run.state.flower_run and not self.control.runs().get(run.state.flower_run, "finished").startswith(
            FLOWER_ENDED
        ):
            self.control.stop(run.state.flower_run)
        if (process := run.lock.holder()) is not None:
            os.kill(process, signal.SIGTERM)


def turn_safely(scheduler: Scheduler) -> str:
    """One turn; what went wrong, for the log, or nothing."""
    try:
        scheduler.turn()
        return ""
    except ConsiliumError as error:
        return f"{error} [{error.code}]"
    except OSError as error:
        return f"{error.filename or scheduler.home.folder}: {error.strerror or error}"
    except Exception as error:
        log.exception("looking after the runs failed")
        return (
            f"looking after the runs fails by a defect of ours, {type(error).__name__}: {error} (server.jsonl has all)"
        )
