"""What a root signs, in plain words, read on a machine that has nothing of the consortium but the paper itself."""

import json
import time
from collections.abc import Callable, Iterator

import yaml
from pydantic import ValidationError

from common.config import first_fault
from common.errors import IdentityError, WireError
from common.plans import plan_page
from common.plans.plan import PlanContent, RunPlan
from common.trust.cosigning import RootPaper, SigningRequest
from common.trust.documents import SignedDocument, fingerprint
from common.trust.joining import JoinRequest, consortium_fingerprint
from common.trust.roster import Pins, Roster, load_verified_roster, parse_roster


def describe(request: SigningRequest) -> str:
    """Everything that is to be signed, for people to decide by.

    Raises:
        WireError, IdentityError, PolicyError: a paper is not well formed, or does not fit the others.
    """
    digits = consortium_fingerprint(Pins(request.consortium, request.roots))
    lines = [
        f"{request.name}, for consortium {request.consortium}, whose roots together have the fingerprint {digits}:"
    ]
    for root in request.roots:
        lines.append(f"  {'signed ' if root in request.signers else 'missing'}  {fingerprint(root)}")
    for paper in request.papers:
        lines += ["", f"--- {paper.kind}, digest {paper.digest.hex()}"]
        lines += WORDS.get(paper.kind, _in_full)(request, paper)
    return "\n".join(lines)


def _roster(request: SigningRequest, paper: RootPaper) -> Iterator[str]:
    roster = parse_roster(paper.roster_content)
    before = (
        load_verified_roster(request.before, Pins(roster.federation, _who_signed_before(request)))
        if request.before
        else None
    )
    if roster.federation != request.consortium:
        raise IdentityError("changed-paper", f"{request.name}: a roster of {roster.federation} among its papers.")
    day = time.strftime("%Y-%m-%d", time.gmtime(roster.expires_s))
    yield f"roster version {roster.version} of {roster.federation}, valid until {day}"
    yield f"purposes: {', '.join(roster.policy.purposes)}; no sum over fewer than {roster.policy.n_min} sites"
    if before is None:
        yield "the first roster, or the one before is not with it; all its members:"
    else:
        yield f"against version {before.version}, which the same roots signed:"
    changes = list(_changes(before, roster))
    yield from changes or ["  the same members"]
    if request.words.get("request"):
        yield from _request(roster, JoinRequest.read(request.words["request"].encode()))


def _who_signed_before(request: SigningRequest) -> tuple[bytes, ...]:
    """The roots that are asked now; where roots change, the old ones among them."""
    paper = request.paper("roots")
    return tuple(map(bytes.fromhex, paper.content["old"])) if paper else request.roots


def _changes(before: Roster | None, after: Roster) -> Iterator[str]:
    members = {member.site: member for member in before.members} if before else {}
    for member in after.members:
        last = members.pop(member.site, None)
        if last is None:
            yield f"  NEW        {member.site}, {member.status}, key {fingerprint(member.key)}"
        elif last.key != member.key:
            keys = f"key {fingerprint(member.key)}, was {fingerprint(last.key)}"
            yield f"  OTHER KEY  {member.site}, {member.status}, {keys}"
        elif last.status != member.status:
            yield f"  {member.status.upper():10} {member.site}, was {last.status}"
    yield from (f"  GONE       {site}" for site in members)
    if before and before.policy != after.policy:
        yield f"  POLICY     was {before.policy}, is to be {after.policy}"


def _request(roster: Roster, request: JoinRequest) -> Iterator[str]:
    if roster.active.get(request.site) != request.identity:
        raise IdentityError("changed-paper", f"{request.site}: the request beside the roster has another key than it.")
    yield f"the request of {request.site}, contact {request.contact or 'not given'}; telephone it yourself and compare:"
    yield f"  {request.fingerprint}"


def _plan(_: SigningRequest, paper: RootPaper) -> Iterator[str]:
    try:
        content = PlanContent.model_validate(paper.content)
    except ValidationError as error:
        raise WireError(f"a plan of another release ({first_fault(error)}). Bring both machines to one.") from None
    yield plan_page.page(RunPlan(content, SignedDocument("plan", paper.content, {})))


def _welcome(_: SigningRequest, paper: RootPaper) -> Iterator[str]:
    content = paper.content
    yield f"lets {content['site']} join at {content['address']}, under roster {content['roster']}"


def _voucher(_: SigningRequest, paper: RootPaper) -> Iterator[str]:
    yield f"vouches for the key that signs the coordinator's log: {paper.content['key']}"


def _roots(request: SigningRequest, paper: RootPaper) -> Iterator[str]:
    content = paper.content
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(content["in_force_s"])))
    yield f"change {content['number']} of the roots of {content['consortium']}, in force from {day}"
    old, new = (set(content[name]) for name in ("old", "new"))
    for key in (*content["old"], *(key for key in content["new"] if key not in old)):
        what = "stays" if key in old & new else "GOES" if key in old else "COMES"
        yield f"  {what:6} {fingerprint(bytes.fromhex(key))}"
    yield "compare the fingerprint of who comes with its owner, by telephone"


def _in_full(_: SigningRequest, paper: RootPaper) -> Iterator[str]:
    yield from yaml.safe_dump(json.loads(json.dumps(paper.content)), sort_keys=False, allow_unicode=True).splitlines()


WORDS: dict[str, Callable[[SigningRequest, RootPaper], Iterator[str]]] = {
    "roster": _roster,
    "plan": _plan,
    "welcome": _welcome,
    "audit-key": _voucher,
    "roots": _roots,
}
