"""What `python -m client run` does: stay connected to the coordinator, take plans, answer what approved ones ask.

Three threads beside the one that answers: one brings documents in and decisions out, one reads the images of a plan as
soon as it is approved, so that the first round does not have to wait for them, one tells people that a plan waits.

What a run took, TensorFlow above all, a process keeps for as long as it lives: some 500 MB. So once it has worked and
no run is left, it begins anew.
"""

import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

from client import app
from client.access.doorkeeper import Doorkeeper
from client.connection.fleet_client import Endpoint
from client.connection.node import serve, start_again
from client.connection.proxy import of_site
from client.connection.retry import ConnectionStatus, keep_up
from client.home import Home, SiteFolder
from client.memory_guard import guard_process
from client.plans import notice, sync
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from client.training.hospital_site import prepare, when_changed_ns
from common.cli import interrupt, logs
from common.errors import ConsiliumError
from common.plans.plan import RunPlan
from common.refusals import code_of
from common.storage.files import write_json
from common.trust import folder_release

log = logging.getLogger("consilium")

DOCUMENTS_EVERY_S = 5.0
AGAIN_S = 60.0
"""Images that do not fit are looked at again after so long, or when site.yaml was edited."""
NOTICES_AT_LEAST_EVERY_S = 600.0
STATUS_EVERY_S, STATUS_AT_MOST_EVERY_S = 10.0, 1.5


@dataclass
class ResidentProcess:
    """The process of one site."""

    home: Home
    stop: threading.Event = field(default_factory=threading.Event)
    _door: Doorkeeper = field(init=False)
    _status: ConnectionStatus = field(default_factory=lambda: ConnectionStatus("connecting"))
    _has_news: threading.Event = field(default_factory=threading.Event)
    _images: sync.ImageState = sync.READY
    _has_answered: bool = False
    """Since the coordinator's log was looked at."""
    _has_worked: bool = False
    """For any run, since the process began."""
    _last_problem: str = ""
    _address: str = ""
    """Where this process is connected to."""
    _reached_s: float = 0.0
    """When the coordinator was reached last."""
    _over: frozenset[str] | None = None
    """Digests of the plans that the coordinator names no more; None: it was not heard yet."""
    _not_approved: dict[str, int] = field(default_factory=dict)
    """Plans that could not be approved by rule, by digest, with the state of site.yaml by which they could not."""
    _ready: dict[str, int] = field(default_factory=dict)
    """Plans whose images are read and fit, by digest, with the state of site.yaml by which they do."""

    def __post_init__(self) -> None:
        self._door = Doorkeeper(SiteFolder(self.home.folder))

    def run(self) -> int:
        """Until it is told to stop, by SIGTERM or Ctrl-C."""
        guard_process()
        with interrupt.in_order(self.stop.set) as signals, self._door.open():
            self._serve()
        return signals.status

    def _serve(self) -> None:
        home = self.home
        folder_release.enter(home.folder)
        endpoint = Endpoint(home.address, home.authority, home.node_key, of_site(home.settings, home.folder))
        self._address = home.address
        logs.begin(home.folder / "log.jsonl")
        log.info("site %s takes part in %s at %s. Ctrl-C stops.", home.site, home.roster.federation, home.address)
        works = (self._exchange_documents, self._read_images, self._send_notices)
        threads = [threading.Thread(target=keep_up, args=(work, self.stop), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        serve(endpoint, app.hospital_app(home), {}, home.folder / "journal", self._note_status, self.stop)
        threads[0].join(timeout=3.0)  # it says goodbye

    def _note_status(self, status: ConnectionStatus) -> None:
        self._status = status
        self._has_answered |= status.what == "sending"
        self._has_worked |= status.what == "working"
        self._has_news.set()

    def _exchange_documents(self) -> None:
        next_documents_s = next_status_s = 0.0
        while not self.stop.is_set():
            now = time.monotonic()
            if now >= next_documents_s:
                self._say_once(sync.refresh(self.home, self._new_plan, self._note_over))
                next_documents_s = now + DOCUMENTS_EVERY_S
                if self.home.address != self._address:
                    log.info("the coordinator has moved to %s; going there", self.home.address)
                    start_again()  # what is in the journal goes on there
                self._begin_anew_at_rest()
            elif self._has_answered:
                self._say_once(sync.witness(self.home))
                self._has_answered = False
            if now >= next_status_s or self._has_news.is_set():
                self._has_news.clear()
                self._leave_word()
                sync.report_status(self.home, self._status, self._images, self._fit())
                next_status_s = now + STATUS_EVERY_S
            self._has_news.wait(min(next_documents_s, next_status_s) - now)
            self.stop.wait(STATUS_AT_MOST_EVERY_S)
        sync.report_status(self.home, None, sync.READY)

    def _begin_anew_at_rest(self) -> None:
        # At a terminal the key's passphrase may have been typed, and nobody may be there to type it again.
        is_at_rest = self._status.what == "idle" and not self._ready and self._images == sync.READY
        if self._has_worked and is_at_rest and not self._door.is_busy and not os.isatty(0):
            log.info("no run is going on: this process begins anew, and the memory of the last one is free")
            start_again()

    def _leave_word(self) -> None:
        """For `client health` and `client metrics`, what this process is doing; a full disk does not end it."""
        images = f"the images of {self._images.plan} do not fit [{self._images.error}]" if self._images.error else ""
        problem, now = self._last_problem or self._status.error or images, time.time()
        self._reached_s = self._reached_s if self._last_problem else now
        what = f"{self._status.what} {self._status.detail}".strip()
        with suppress(OSError):
            word = {"at_s": now, "reached_s": self._reached_s, "what": what, "problem": problem}
            write_json(self.home.resident, word, durably=False)

    def _note_over(self, plans: frozenset[str]) -> None:
        self._over = plans
        if self._ready and set(self._ready) <= plans:
            self._ready.clear()
            hospital_site.forget()  # nobody asks any more

    def _new_plan(self, name: str) -> None:
        log.info("a new plan, %s, waits for a decision: python -m client plans %s", name, name)

    def _send_notices(self) -> None:
        """Of every plan that waits, once; a mail server that does not answer is asked again, ever more seldom."""
        pause_s = DOCUMENTS_EVERY_S
        while not self.stop.wait(pause_s):
            problem = notice.send_notices(self.home)
            if problem and pause_s == DOCUMENTS_EVERY_S:
                log.warning("%s", problem)
            pause_s = min(2 * pause_s, NOTICES_AT_LEAST_EVERY_S) if problem else DOCUMENTS_EVERY_S

    def _read_images(self) -> None:
        """Of every plan that was approved, and again after a minute where they do not fit."""
        while not self.stop.wait(1.0):
            self._approve()
            if self._over is None:
                continue  # a plan whose run is over needs no images
            for plan in [plan for plan in PlanInbox(self.home).plans() if self._takes_part(plan)]:
                edited = self._edited()
                if self._ready.get(plan.digest) != edited and self._read(plan):
                    self._ready[plan.digest] = edited
                    self._has_news.set()

    def _approve(self) -> None:
        edited = self._edited()
        tried = [plan for plan, then in self._not_approved.items() if then == edited]
        for plan, error in sync.approve_by_rule(self.home, tried):
            log.error("plan %s is not approved, though policy.plans is approve: %s", plan.name, error)
            self._not_approved[plan.digest] = edited
            self._note(sync.ImageState(plan.name, code_of(error)))  # the coordinator waits for a decision

    def _edited(self) -> int:
        """When site.yaml was changed last, or a data set that it names written again."""
        try:
            return when_changed_ns(self.home, self.home.settings.datasets)
        except ConsiliumError:
            return (self.home.folder / "site.yaml").stat().st_mtime_ns  # what is wrong with it, reading images says

    def _fit(self) -> list[str]:
        """The plans that can go on."""
        edited = self._edited()
        return [plan for plan, then in self._ready.items() if then == edited and plan not in (self._over or ())]

    def _takes_part(self, plan: RunPlan) -> bool:
        decision = PlanInbox(self.home).decision(plan)
        return bool(decision and decision.verdict == "approve" and plan.digest not in (self._over or ()))

    def _read(self, plan: RunPlan) -> bool:
        self._note(sync.ImageState(plan.name))
        inbox = PlanInbox(self.home)
        inbox.note_images(plan, "reading")
        try:
            prepare(self.home, plan)
            log.info("the images of plan %s are read and fit", plan.name)
            self._report_images(plan)
            inbox.note_images(plan, "ready")
            self._note(sync.READY)
            return True
        except Exception as error:  # of one plan, a model that no memory holds: others go on
            is_foreseen = isinstance(error, ConsiliumError | OSError)
            log.error("plan %s cannot run here: %s", plan.name, error, exc_info=None if is_foreseen else error)
            inbox.note_images(plan, "unfit", str(error))
            self._note(sync.ImageState(plan.name, code_of(error)))
        edited = self._edited()
        for _ in range(int(AGAIN_S)):
            if self.stop.wait(1.0) or self._edited() != edited:
                break
            if not self._takes_part(plan):
                self._note(sync.READY)
                break
        return False

    def _report_images(self, plan: RunPlan) -> None:
        """Into the log; what is to be doubted of them is named on the screen alone, and stays here."""
        cases = prepare(self.home, plan).site.cases
        for warning in cases.warnings:
            log.warning("data set %s: %s", plan.content.dataset, warning)
        facts = {
            "training": len(cases.train.labels),
            "validation": len(cases.validation.labels),
            "warnings": len(cases.warnings),
        }
        self.home.log.record("images read", plan=plan.name, dataset=plan.content.dataset, facts=facts)

    def _note(self, images: sync.ImageState) -> None:
        self._images = images
        self._has_news.set()

    def _say_once(self, problem: str) -> None:
        if problem and problem != self._last_problem:
            log.warning("%s", problem)
        elif self._last_problem and not problem:
            log.info("the coordinator is reached again")
        self._last_problem = problem


def run(home: Home) -> int:
    """Take part until interrupted."""
    return ResidentProcess(home).run()
