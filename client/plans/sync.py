"""What a site exchanges with the gateway beside rounds: roster and plans in, signed decisions and its state out."""

import base64
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from client.connection.gateway_client import GatewayClient
from client.connection.proxy import of_site
from client.connection.retry import ConnectionStatus
from client.dataset.for_plan import refuse_unready
from client.home import Home
from client.plans import judge, plan_plugins
from client.plans.coordinator_address import take_address
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.plans.log_witness import Witness
from common.audit.account_statement import AccountStatement
from common.errors import ConsiliumError, PlanError, SecAggError, WireError
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.trust.release import VERSION, code_digest

log = logging.getLogger("consilium")


@dataclass(frozen=True)
class ImageState:
    """What a plan waits for at this site: its images, or a plug-in that is not here or not allowed."""

    plan: str = ""
    """Its name; none: all are ready."""
    error: str = ""
    """Code of why they do not fit; none: they are being read."""


READY = ImageState()


def ignore(_: str) -> None:
    """Nobody wants to know."""


def refresh(
    home: Home,
    new_plan: Callable[[str], None] = ignore,
    over: Callable[[frozenset[str]], None] = lambda _: None,
) -> str:
    """Take the newest roster and all plans, and send decisions that the coordinator has not got; why not, if so.

    Args:
        new_plan: is told the name of every plan that waits for a decision, once.
        over: is told the digests of this site's plans that the coordinator names no more.
    """
    try:
        with gateway_of(home) as gateway:
            digests = {plan.document.encode(): plan.digest for plan in PlanInbox(home).plans()}
            files = _take(home, board := gateway.board(), new_plan)
            _note_stages(home, board.get("stages"), files)
            over(frozenset(digest for file, digest in digests.items() if file not in files))
            open_plans = [plan for plan in PlanInbox(home).plans() if plan.document.encode() in files]
            problem = _deliver_all(home, gateway, open_plans)
            Witness(home).look(gateway)
        return problem
    except (ConsiliumError, OSError) as error:
        return str(error)


def witness(home: Home) -> str:
    """Look whether the coordinator's log goes on from what was seen; what is wrong, if so."""
    try:
        with gateway_of(home) as gateway:
            Witness(home).look(gateway)
        return ""
    except (ConsiliumError, OSError) as error:
        return str(error)


def send_decision(home: Home, decision: Decision) -> str:
    """Send one decision; why it could not be, if so."""
    try:
        with gateway_of(home) as gateway:
            _deliver(home, gateway, decision)
        return ""
    except (ConsiliumError, OSError) as error:
        return str(error)


def tell_account(home: Home, account: AccountStatement) -> None:
    """Bring this site's word on its account to the coordinator, which hands it to all sites.

    Raises:
        LinkError, IdentityError, WireError: it is not there; then nothing may leave that was paid for.
    """
    with gateway_of(home) as gateway:
        gateway.history({"size": 0, "account": account.document.to_json()})


def report_status(home: Home, status: ConnectionStatus | None, images: ImageState, ready: Iterable[str] = ()) -> None:
    """Tell the coordinator what this site is doing; none: it stops. Whether that succeeds does not matter.

    Args:
        ready: digests of the plans whose images are read and fit.
    """
    content: dict[str, Any] = {"what": "stopped", "detail": "", "error": "", "ready": sorted(ready)}
    content |= {"release": VERSION, "code": code_digest(), "runs": home.settings.policy.runs_at_once}
    if status is not None:
        content |= {"what": status.what, "detail": status.detail, "error": status.code}
    if status is not None and not images.plan:
        images = ImageState(*plan_plugins.first_refusal(home))
    if status is not None and images.plan:
        what = {"what": "unfit", "error": images.error} if images.error else {"what": "reading"}
        content |= what | {"detail": f"the images of {images.plan}" if not images.error else images.plan}
    try:
        with gateway_of(home) as gateway:
            gateway.doing(content)
    except (ConsiliumError, OSError):
        log.debug("the coordinator was not told what this site is doing")


def coordinator_release(home: Home) -> tuple[str, str]:
    """Release and code of the coordinator's; empty if it was not reached."""
    try:
        with gateway_of(home) as gateway:
            board = gateway.board()
            return str(board.get("release", "")), str(board.get("code", ""))
    except (ConsiliumError, OSError):
        return "", ""


def clock_offset_s(home: Home) -> float | None:
    """How much later the coordinator's clock is than this machine's; None if it was not reached."""
    try:
        with gateway_of(home) as gateway:
            gateway.board()
            return gateway.clock_offset_s
    except (ConsiliumError, OSError):
        return None


def gateway_of(home: Home) -> GatewayClient:
    """This site's connection to the coordinator's gateway."""
    return GatewayClient(home.address, home.authority, home.site, home.identity, of_site(home.settings, home.folder))


def _take(home: Home, answer: dict[str, Any], new_plan: Callable[[str], None]) -> list[bytes]:
    try:
        roster, plans = (
            base64.b64decode(answer["roster"], validate=True),
            [str(plan).encode() for plan in answer["plans"]],
        )
        changes = [str(change).encode() for change in answer.get("roots", ())]
        rekeys = [str(paper).encode() for paper in answer.get("rekeys", ())]
    except (KeyError, TypeError, ValueError):
        raise WireError("the coordinator's board is of another release. Bring both sides to one.") from None
    home.take_root_changes(changes)
    if moved := answer.get("address"):
        take_address(home, str(moved).encode())
    home.take_roster(roster, rekeys)
    for file in plans:
        try:
            if (plan := PlanInbox(home).take_plan(file)) is None:
                continue
        except (WireError, SecAggError, PlanError) as error:
            log.warning("a plan that is not taken: %s", error)
            continue
        facts = {"digest": plan.digest, "purpose": plan.content.purpose}
        home.log.record("plan came", plan=plan.name, dataset=plan.content.dataset, facts=facts)
        if home.settings.policy.plans != "approve" or judge.objection(home, plan):
            new_plan(plan.name)
    return plans


def _note_stages(home: Home, stages: Any, files: Sequence[bytes]) -> None:
    """Remember what the coordinator says of every run, for the list of plans."""
    inbox, words = PlanInbox(home), stages if isinstance(stages, dict) else {}
    for plan in inbox.plans():
        is_named = plan.document.encode() in files
        stage = words.get(plan.digest, "waiting" if is_named else inbox.stage(plan) or "over")
        stage = "over" if not is_named and stage in ("waiting", "running", "without") else str(stage)
        if stage != inbox.stage(plan) and stage != "waiting" and inbox.decision(plan):
            log.info("plan %s is %s, as the coordinator says", plan.name, stage)
        inbox.note_stage(plan, stage)


def approve_by_rule(home: Home, but: Collection[str] = ()) -> list[tuple[RunPlan, Exception]]:
    """Approve what waits, where `policy.plans` of site.yaml is approve and the images fit; that can take their reading.

    Args:
        but: digests of plans that are left alone.

    Returns:
        The plans that this site does not approve after all, each with why: its images, or what it answered before.
    """
    failures: list[tuple[RunPlan, Exception]] = []
    for plan in PlanInbox(home).plans() if home.settings.policy.plans == "approve" else ():
        if plan.digest in but or PlanInbox(home).decision(plan) or judge.objection(home, plan):
            continue
        try:
            refuse_unready(home, plan)
            decide(home, plan, "approve", "policy.plans of this site is approve")
        except (ConsiliumError, OSError) as error:  # of one plan: the next may fit
            failures.append((plan, error))
            continue
        facts = {"digest": plan.digest, "purpose": plan.content.purpose}
        home.log.record("plan approved by site.yaml", plan=plan.name, dataset=plan.content.dataset, facts=facts)
    return failures


def _deliver_all(home: Home, gateway: GatewayClient, plans: Iterable[RunPlan]) -> str:
    """Send what was decided and has not come yet; what was not taken, if so. One that is not keeps no other."""
    problem = ""
    for plan in plans:
        decision = PlanInbox(home).decision(plan)
        if decision and not PlanInbox(home).is_delivered(plan):
            try:
                _deliver(home, gateway, decision)
            except ConsiliumError as error:
                problem = problem or str(error)
    return problem


def _deliver(home: Home, gateway: GatewayClient, decision: Decision) -> None:
    gateway.decision(decision.document.to_json())
    PlanInbox(home).note_delivered(decision)
