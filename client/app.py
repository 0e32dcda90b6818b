"""The site's edge to Flower: a standard ClientApp around `client.training.site.Site`.

A message carries one array of bytes, which common/messages/wire.py wrote and reads; a reply likewise. Two apps answer:

    app          what a hospital runs; its node-config names the site's folder, and every message the plan that it is of
    simulated()  what Flower's simulation engine runs: node i is the i-th simulated site

A message of a plan that this hospital has not approved is not answered, whichever of Flower's engines brings it.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client.dataset import loading
from client.dataset.for_plan import own_cases
from client.home import Home
from client.plans import judge
from client.plans.inbox import PlanInbox
from client.training import evaluating_site
from client.training.auditing_site import Auditing
from client.training.secure_site import SealedFile, Secured, asked_in, machine
from client.training.site import Site
from common.algorithms.course import Course
from common.config import Config
from common.errors import ConfigError, ConsiliumError, PlanError, WireError
from common.imaging import Pipeline
from common.messages import wire
from common.messages.answer_layout import exchanges
from common.messages.transport import Answer, Reply, Request
from common.models import build
from common.plans.plan import RunPlan
from common.secagg import Exchange, State
from common.storage import tensorfile
from common.trust.enrolment import Enrolment
from common.types import Tensors

log = logging.getLogger("consilium")

SMALL_BYTES = 2**20
PATIENCE_S = 5.0
"""How long an answer waits for images that are being read; a first reading may take hours."""
REFUSED = 100
"""Error code of our own (Flower's end at 8): the reason is a message for people."""


RECORDED = {"secagg/submit": "round answered", "evaluation/figures": "figures published"}
"""Messages that the site's log has, and as what."""


@dataclass(frozen=True)
class Member:
    """The site that a node is."""

    site: Site
    layouts: Callable[[int], dict[str, Exchange]]
    course: Callable[[Sequence[str]], Course]
    """What a run of these sites has to ask, by this site's own configuration."""
    enrolment: Enrolment | None = None
    """None: a simulation without secure aggregation."""
    home: Path | None = None
    """A real site's folder; a simulated site keeps everything in Flower's context."""
    room: Path | None = None
    """What a real site keeps of this run."""
    plan: RunPlan | None = None
    """Of a real site."""
    before: Callable[[Secured], Answer] | None = None
    """What stands before the secured site in an evaluation."""

    def answer(self, request: Request, context: Context) -> tuple[Reply, Tensors | None]:
        """One request, from the state that the last one left; the new state, if it changed."""
        kept = self._kept(context)
        reply, state = self._secured(context)(request, kept)
        if state is kept:
            return reply, None
        if self.room:
            tensorfile.save(self.room / "kept.safetensors", state, {})
        else:
            context.state["state"] = _record(tensorfile.pack(state, {}))
        return reply, state

    def record(self, request: Request) -> None:
        """Write down what is about to leave a real site.

        Raises:
            AuditError, RunError, OSError: it could not be; then it must not leave.
        """
        if self.plan and self.home and (what := RECORDED.get(request.kind)):
            facts: dict[str, int | str] = {
                "round": request.round,
                "asked": asked_in(request).kind,
                "cases": len(self.site.cases.train.labels),
            }
            Home(self.home).log.record(what, plan=self.plan.name, dataset=self.plan.content.dataset, facts=facts)

    def _secured(self, context: Context) -> Answer:
        """The site behind secure aggregation, from the state that its last step recorded."""
        if self.enrolment is None:
            return self.site.answer
        if self.home:
            store = SealedFile(self.home / "state", self.enrolment.sealing_key)
            own, home = machine(self.enrolment, store.load()), Home(self.home)
            return self._auditing(
                Secured(self.site, self.layouts, own, store, newest=lambda: home.roster.version)
            )  # fmt: skip

        def remember(after: State) -> None:
            context.state["secagg"] = _record(after.encode())

        kept = State.decode(_bytes(context.state, "secagg")) if "secagg" in context.state else State()
        return self._auditing(Secured(self.site, self.layouts, machine(self.enrolment, kept), remember))

    def _auditing(self, secured: Secured) -> Answer:
        if self.before:  # there is no course to follow where nothing is trained
            return self.before(secured)
        audits = self.enrolment is not None and self.enrolment.audit
        return Auditing(secured, self.course, self.room).answer if audits else secured.answer

    def _kept(self, context: Context) -> Tensors:
        if not self.room:
            return tensorfile.unpack(_bytes(context.state, "state"))[0] if "state" in context.state else {}
        try:
            return tensorfile.load(self.room / "kept.safetensors")[0]
        except FileNotFoundError:
            return {}


# --- which site a node is -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _simulated_members(config: str, seed: int) -> tuple[Member, ...]:
    """The sites of a configuration (as JSON), loaded once a process: that can take longer than a round."""
    checked = Config.model_validate_json(config)
    data = loading.load(checked, seed)
    model = build(checked.model_for(seed), data.sites[0].train.images.shape[1:], len(data.labels), checked.augment)
    layouts = partial(exchanges, checked, model, data.sites[0].train.images.shape[1:], len(data.labels))
    course = partial(Course.of, checked, model, seed)
    return tuple(Member(Site(c, data.pipeline, model, checked.federation.local), layouts, course) for c in data.sites)


def _simulated_member(
    config: str, seed: int, enrolled: Mapping[str, Enrolment], message: Message, context: Context
) -> Member:
    member = _simulated_members(config, seed)[int(context.node_config["partition-id"])]
    return replace(member, enrolment=enrolled.get(member.site.cases.name))


def _own_member(message: Message, context: Context) -> Member:
    """The hospital whose folder the node-config names as `home`, for the plan that the message is of."""
    if "home" not in context.node_config:
        raise ConfigError('node-config: no key home; expected home="FOLDER", this site\'s folder (client init).')
    home = Home(Path(str(context.node_config["home"])))
    plan = judge.approved(home, _plan_of(message))
    return replace(prepared(home, plan), enrolment=home.enrolment, plan=plan)


def prepared(home: Home, plan: RunPlan) -> Member:
    """The site with its images for a plan, read once a process.

    Raises:
        ConfigError, DataError: images that are not what the plan is for.
    """
    if not _PREPARING.acquire(timeout=PATIENCE_S):
        raise PlanError(f"{home.site}: the images of plan {plan.name} are still being read.")
    try:
        return _prepared(home, plan.digest, (home.folder / "site.yaml").stat().st_mtime_ns)
    finally:
        _PREPARING.release()


_PREPARING = threading.Lock()
"""Reading the images twice at once would take twice the memory."""


@lru_cache(maxsize=1)
def _prepared(home: Home, digest: str, edited_ns: int) -> Member:
    """`edited_ns`: when site.yaml was changed last, so that a mended one is read again."""
    plan = judge.approved(home, digest)
    if plan.content.models:
        return _examining(home, plan)
    cases, told = own_cases(home, plan), plan.content
    training, seed = told.training, told.training.seeds[0]
    model = build(training.model_for(seed), told.shape, len(told.labels), training.augment)
    site = Site(cases, Pipeline(training.preprocess), model, training.federation.local)
    layouts = partial(exchanges, training, model, told.shape, len(told.labels))
    return Member(
        site, layouts, partial(Course.of, training, model, seed), home=home.folder, room=PlanInbox(home).room(digest)
    )


def _examining(home: Home, plan: RunPlan) -> Member:
    def no_course(sites: Sequence[str]) -> Course:
        raise PlanError(f"{home.site}: plan {plan.name} evaluates, so there is no training to follow.")

    before = partial(evaluating_site.Examining, home=home, plan=plan)
    return Member(
        evaluating_site.prepared(home, plan), partial(evaluating_site.layouts, plan), no_course, home=home.folder,
        room=PlanInbox(home).room(plan.digest), before=lambda secured: before(secured).answer,
    )  # fmt: skip


def _plan_of(message: Message) -> str:
    try:
        return str(cast(ConfigRecord, message.content["message"])["plan"])
    except (KeyError, TypeError):
        raise WireError("a message that does not say of which plan it is: not from this release's server.") from None


# --- answering ------------------------------------------------------------------------------------------------------

Which = Callable[[Message, Context], Member]


def _introduce(member: Member, message: Message, context: Context) -> RecordDict:
    """Which of the simulated sites this is."""
    return RecordDict({"about": ConfigRecord({"site": member.site.cases.name})})


def _answer(member: Member, message: Message, context: Context) -> RecordDict:
    """What the site answers to the request in the message."""
    simulated = member.home is None
    if simulated and "state" in message.content:  # a resumed simulation brings what its sites had kept
        context.state["state"] = message.content["state"]
    reply, state = member.answer(request := wire.decode_request(_unpacked(message.content)), context)
    member.record(request)
    content = _packed(wire.encode_reply(reply))
    if simulated and state is not None:  # its state may leave, for it is the simulation's own
        content["state"] = context.state["state"]
    return content


def _respond(
    which: Which, handle: Callable[[Member, Message, Context], RecordDict], tell: Callable[[Exception], str],
    message: Message, context: Context,
) -> Message:  # fmt: skip
    """Handle one message; what goes wrong becomes an error that the coordinator can read."""
    try:
        return Message(handle(which(message, context), message, context), reply_to=message)
    except (ConsiliumError, OSError) as error:
        log.warning("%s", error)
        return Message(Error(REFUSED, tell(error)), reply_to=message)
    except Exception as error:  # Flower itself would send the text of it
        log.exception("a defect of this release")
        return Message(Error(REFUSED, tell(error)), reply_to=message)


def _code(error: Exception) -> str:
    """What the coordinator may read of an error: its code. The text may name files, rows, patients; it stays here."""
    if isinstance(error, ConsiliumError):
        return error.code
    return "DISK" if isinstance(error, OSError) else "DEFECT"


def _app(which: Which, *, simulated: bool) -> ClientApp:
    client, tell = ClientApp(), str if simulated else _code
    client.query("answer")(partial(_respond, which, _answer, tell))
    if simulated:
        client.query("introduce")(partial(_respond, which, _introduce, tell))
    return client


def _packed(content: bytes) -> RecordDict:
    """One array of bytes as Flower's records: few and small ones, for each travels by itself."""
    if len(content) <= SMALL_BYTES:
        return RecordDict({"message": ConfigRecord({"bytes": content})})
    return RecordDict({"message": ConfigRecord({}), "pieces": _record(content)})


def _unpacked(content: RecordDict) -> bytes:
    try:
        told = cast(ConfigRecord, content["message"])
        return cast(bytes, told["bytes"]) if "bytes" in told else _bytes(content, "pieces")
    except (KeyError, TypeError, AttributeError):
        raise WireError("a Flower message without our bytes: not from this release's coordinator.") from None


def _record(content: bytes) -> ArrayRecord:
    # Flower sends arrays in pieces, but a ConfigRecord whole: for 100 MB that took ten times as long.
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "consilium", content)})


def _bytes(content: RecordDict, name: str) -> bytes:
    try:
        return cast(ArrayRecord, content[name])["bytes"].data
    except (KeyError, AttributeError):
        raise WireError(
            f"a Flower message without bytes under '{name}': not from this release's coordinator."
        ) from None


def simulated(config: Config, seed: int, enrolled: Mapping[str, Enrolment]) -> ClientApp:
    """All sites of one seed of a simulation; each process loads the data once. Enrolled none: all is in the clear."""
    return _app(partial(_simulated_member, config.model_dump_json(), seed, enrolled), simulated=True)


app = _app(_own_member, simulated=False)
"""What a hospital's SuperNode runs."""
