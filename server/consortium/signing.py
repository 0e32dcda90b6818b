"""The one way in which the roots sign: at once where all their keys are at hand, else when all have signed.

pending/NAME.unsigned      what is carried to the missing roots (`common.trust.cosigning`)
pending/NAME.json          how the coordinator goes on then; it does not leave
pending/NAME.dropped       what was given up; a roster of its version is never drawn up again
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.cli import terminal
from common.errors import ConfigError, PolicyError
from common.storage import tensorfile
from common.storage.files import read_json, write_json
from common.trust.cosigning import RootPaper, SigningRequest
from common.trust.documents import fingerprint
from common.trust.joining import checked_name
from common.trust.roster import parse_roster
from server.consortium.home import Home

Rest = dict[str, Any]
"""What the coordinator needs to go on, as JSON."""
Finish = Callable[[Home, SigningRequest, Rest], str]
"""Goes on when all have signed; what there is to say then."""


@dataclass(frozen=True)
class SigningOutcome:
    """What became of a signing request."""

    request: SigningRequest
    words: str
    """For the screen: what was done, or who is missing and what they type."""


def request_of(home: Home, act: str, name: str, papers: Sequence[RootPaper], **words: str) -> SigningRequest:
    """A signing request that nobody has signed yet, for all who sign for the consortium."""
    roster = home.folder / "roster"
    before = roster.read_bytes() if roster.exists() else b""
    return SigningRequest(home.pins.federation, home.signers, act, name, tuple(papers), before, words)


def sign(
    home: Home, request: SigningRequest, rest: Rest, roots: Sequence[Ed25519PrivateKey], finish: Finish
) -> SigningOutcome:
    """Sign with the keys at hand, and go on if that is all of them; else the request waits.

    Args:
        rest: what `finish` needs besides the papers.

    Raises:
        ConfigError: a request of this name, or another roster, waits already.
    """
    checked_name(request.name, "pending")
    if request.paper("roster") and (other := next((r for r in waiting(home) if r.paper("roster")), None)):
        raise ConfigError(
            f"{other.name} waits for signatures, and changes the roster too: one after the other. "
            f"`python -m server pending` says who is missing; --drop {other.name} gives it up."
        )
    if _unsigned(home, request.name).exists():
        raise ConfigError(f"{request.name} waits for signatures already: python -m server pending")
    request = request.sign(roots)
    if not request.missing:
        return SigningOutcome(request, finish(home, request, rest))
    write_json(_rest(home, request.name), rest)
    return _keep(home, request)


def take(home: Home, file: bytes, acts: dict[str, Finish]) -> SigningOutcome:
    """Take a request back that others have signed, and go on where it waited, if nobody is missing any more.

    Args:
        acts: how each act goes on.

    Raises:
        ConfigError: nothing of its name waits here.
        PolicyError: `changed-paper`.
        WireError, IdentityError: as `SigningRequest.read`; and what going on raises, with everything kept then.
    """
    theirs = SigningRequest.read(file)
    request = load(home, theirs.name).merged(theirs)
    if request.act != "rotate" and request.roots != home.signers:
        raise PolicyError(
            "changed-paper", f"{request.name}: the consortium's roots are others by now. Drop it, and give the command "
            "again.",
        )  # fmt: skip
    if request.missing:
        return _keep(home, request)
    words = acts[request.act](home, request, read_json(_rest(home, request.name)) or {})
    for path in (_unsigned(home, request.name), _rest(home, request.name)):
        path.unlink(missing_ok=True)
    return SigningOutcome(request, words)


def load(home: Home, name: str) -> SigningRequest:
    """What waits here under a name.

    Raises:
        ConfigError: nothing does.
    """
    path = _unsigned(home, checked_name(name, "pending"))
    if not path.exists():
        names = ", ".join(request.name for request in waiting(home)) or "nothing"
        raise ConfigError(f"{name}: does not wait for signatures here; {names} does.")
    return SigningRequest.read(path.read_bytes())


def waiting(home: Home) -> Iterator[SigningRequest]:
    """All that waits, by name."""
    for path in sorted((home.folder / "pending").glob("*.unsigned")):
        yield SigningRequest.read(path.read_bytes())


def drop(home: Home, name: str) -> None:
    """Give up what waits; a roster of its version will never be drawn up again.

    Raises:
        ConfigError: nothing of this name waits.
    """
    request, path = load(home, name), _unsigned(home, name)
    at = f"{name}.{request.papers[0].digest.hex()[:8]}.dropped"
    path.rename(path.with_name(at))
    _rest(home, name).unlink(missing_ok=True)


def highest_version(home: Home) -> int:
    """Of all rosters that were ever drawn up here, published or not: two of one version must never be signed."""
    files = [*(home.folder / "pending").glob("*.unsigned"), *(home.folder / "pending").glob("*.dropped")]
    papers = (SigningRequest.read(path.read_bytes()).paper("roster") for path in files)
    versions = [parse_roster(paper.roster_content).version for paper in papers if paper]
    note = read_json(home.folder / "restored.json") or {}  # what was drawn up after the backup is not known here
    return max([home.roster.version, int(note.get("roster_above", 0)), *versions])


def describe_missing(home: Home, request: SigningRequest) -> str:
    """Who has signed, who is missing, and what they type."""
    path = _unsigned(home, request.name)
    lines = [f"Nothing is done yet: {request.name} waits for the signatures of {len(request.missing)} of "
             f"{len(request.roots)} roots."]  # fmt: skip
    for root in request.roots:
        lines.append(f"  {'signed ' if root in request.signers else 'MISSING'}  {fingerprint(root)}")
    lines += [f"Carry {path} to each that is missing; it holds no secret. There:",
              f"  python -m server cosign {terminal.word(path.name)} --root THEIR.key",
              "and with what comes back, here:",
              f"  python -m server take {terminal.word(path.name)}"]  # fmt: skip
    return "\n".join(lines)


def _keep(home: Home, request: SigningRequest) -> SigningOutcome:
    tensorfile.write_atomically(_unsigned(home, request.name), request.file)
    return SigningOutcome(request, describe_missing(home, request))


def _unsigned(home: Home, name: str) -> Path:
    return home.folder / "pending" / f"{name}.unsigned"


def _rest(home: Home, name: str) -> Path:
    return home.folder / "pending" / f"{name}.json"
