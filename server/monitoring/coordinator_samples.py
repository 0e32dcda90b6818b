"""What Prometheus reads of a coordinator: processes, connections and rounds. Of a single site no number is among it but
when it was heard: no cases, no losses, nothing that it computed."""

import shutil
from collections import Counter
from collections.abc import Iterator

from common.monitoring.metric_page import Sample
from common.trust.release import VERSION
from server.consortium import expiry
from server.consortium.home import Home
from server.processes import process_table
from server.runs.run import Run
from server.runs.run_state import OVER, STAGES
from server.runs.service_state import is_service_running
from server.runs.status import site_statuses, typical_round_s


def samples(home: Home) -> Iterator[Sample]:
    """All of it, as it is now."""
    yield Sample("consilium_release_info", "The installed release.", 1, (("release", VERSION),))
    yield Sample("consilium_service_up", "Whether `server start` is at work.", is_service_running(home))
    for state in process_table.process_states(home.live / "log"):
        label = (("process", state.name),)
        yield Sample("consilium_process_up", "Whether a process of the coordinator runs.", bool(state.pid), label)
        yield Sample("consilium_process_restarts", "How often it was started again.", state.restarts, label)
        yield Sample("consilium_process_resident_bytes", "Its resident memory.", state.rss_bytes, label)
    yield from _sites(home)
    yield from _runs(home)
    for one in expiry.all_of(home):
        what = one.what.partition(",")[0].removeprefix("The ")
        yield Sample("consilium_expiry_timestamp_seconds", "When something expires.", one.at_s, (("what", what),))
    yield Sample("consilium_disk_free_bytes", "Room in the folder.", shutil.disk_usage(home.folder).free)


def _sites(home: Home) -> Iterator[Sample]:
    for one in site_statuses(home):
        label = (("site", one.site),)
        yield Sample("consilium_site_connected", "Whether a member is there.", one.is_connected, label)
        name = "consilium_site_heard_timestamp_seconds"
        yield Sample(name, "When a member was heard last; 0: never.", one.heard_s or 0.0, label)
        if one.error:
            labels = (*label, ("code", one.error))
            yield Sample("consilium_site_error_info", "What is wrong there, as errors.md has it.", 1, labels)


def _runs(home: Home) -> Iterator[Sample]:
    runs = list(Run.all(home))
    stages = Counter(run.state.stage for run in runs)
    for stage in STAGES:
        yield Sample("consilium_runs", "Runs by how far they are.", stages[stage], (("stage", stage),))
    for run in runs:
        if run.state.stage in OVER:
            continue
        rounds, progress, label = run.rounds(), run.progress(), (("run", run.name),)
        void = sum(bool(record["void"]) for record in rounds)
        yield Sample("consilium_run_rounds", "Rounds done of a run that goes on.", len(rounds), label)
        yield Sample("consilium_run_planned_rounds", "Rounds that its plan asks for.", run.plan.rounds, label)
        yield Sample("consilium_run_void_rounds", "Rounds of it that were void.", void, label)
        yield Sample("consilium_run_round_seconds", "What a round of it takes.", typical_round_s(rounds), label)
        count = len(progress.waiting) if progress else 0
        yield Sample("consilium_run_awaited_sites", "Sites that it waits for now.", count, label)
