"""Is this site ready to take part? A line for each thing that can be wrong, with what to do about it."""

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from client.access.policy_change import lone_officer_warning
from client.access.policy_store import policy_store
from client.home import Home
from client.plans import sync
from client.plans.log_witness import Witness
from client.setup import address_check, plan_checks
from common.cli import terminal
from common.monitoring.check_result import CheckResult, look_at
from common.storage import file_lock
from common.trust.joining import consortium_fingerprint
from common.trust.release import VERSION, code_digest, works_with
from common.trust.roster import refuse_expired

NEEDED_BYTES = 2 * 2**30
CLOCK_S = 30.0
ROSTER_SOON_S = 30 * 86_400


def check(home: Home, console: Console) -> int:
    """Look at everything and print a line each; exit status 0 if all is well, else 1."""
    bad = 0
    for title, line in look_at(CHECKS, home):
        bad += not line.ok
        mark = Text("ok  ", "green") if line.ok else Text("NOT ", "red")
        console.print(mark, f"{title}: {line.what}")
        if line.todo:
            console.print(f"       {line.todo}", highlight=False)
    console.print("Ready: python -m client run takes part." if not bad else f"{bad} thing{'s' * (bad > 1)} to mend.")
    return 1 if bad else 0


def check_as_json(home: Home) -> int:
    """The same for programs, as one JSON document; exit status 0 if all is well, else 1."""
    results = [
        {"check": title, "ok": result.ok, "what": result.what, "todo": result.todo}
        for title, result in look_at(CHECKS, home)
    ]
    is_ready = all(result["ok"] for result in results)
    print(json.dumps({"ready": is_ready, "checks": results}, indent=1))
    return 0 if is_ready else 1


def _keys(home: Home) -> Iterator[CheckResult]:
    _ = home.identity, home.node_key
    yield CheckResult(True, f"site {home.site}, {home.folder}")
    for name in ("identity", "node"):
        if (home.folder / name).stat().st_mode & 0o077:
            yield CheckResult(False, f"{home.folder / name} can be read by others", _private(home.folder / name))


def _private(path: Path) -> str:
    return f"chmod 600 {terminal.word(path)}"


def _settings(home: Home) -> Iterator[CheckResult]:
    if not file_lock.excludes(home.folder / "ledger.lock"):
        yield CheckResult(
            False,
            f"{home.folder}: its file system knows no locks, without which two processes may answer one question twice",
            "Move the folder to a disk of this machine.",
        )
    if home.settings.policy.audit is not None:
        yield CheckResult(
            True, "policy.audit in site.yaml has no effect: every site audits every run", "Take the line away."
        )


def _access(home: Home) -> Iterator[CheckResult]:
    policy = policy_store(home).in_force()
    count = len(policy.content.people)
    text = f"policy version {policy.content.version}, {count} {'person' if count == 1 else 'people'}"
    yield CheckResult(True, text, lone_officer_warning(policy.content))
    for path in sorted(home.folder.glob("*.key")):
        if path.stat().st_mode & 0o077:
            yield CheckResult(False, f"{path} can be read by others", _private(path))


def _witness(home: Home) -> Iterator[CheckResult]:
    witness = Witness(home)
    if home.witness_refused.exists():
        yield CheckResult(False, "the coordinator showed two histories", "python -m client witness, and docs/audit.md")
    elif head := witness.head:
        yield CheckResult(
            True, f"{head.size:,} entries of the coordinator's log seen, {len(witness.others)} other sites saw it"
        )
    else:
        yield CheckResult(True, "nothing of the coordinator's log yet")


def _roster(home: Home) -> Iterator[CheckResult]:
    _ = home.address  # says what to do before the site has joined
    roster, identity_key = home.roster, home.identity.public_key().public_bytes_raw()
    refuse_expired(roster, time.time())
    until = time.strftime("%Y-%m-%d", time.gmtime(roster.expires_s))
    text = f"{roster.federation}, version {roster.version}, {len(roster.active)} active members, valid until {until}"
    if roster.active.get(home.site) != identity_key:
        yield CheckResult(
            False,
            f"{text}; {home.site} is not among them under this key",
            "Ask the coordinator: was the site suspended, or did it get new keys?",
        )
    elif (left_s := roster.expires_s - time.time()) < ROSTER_SOON_S:
        todo = f"Expires in {left_s / 86_400:.0f} days: the coordinator renews it with `python -m server renew`."
        yield CheckResult(True, text, todo)
    else:
        yield CheckResult(True, text)


def _roots(home: Home) -> Iterator[CheckResult]:
    if not home.has_joined:
        return
    for change in home.root_changes:
        old, new = change.words
        day, is_coming = time.strftime("%Y-%m-%d", time.gmtime(change.in_force_s)), change.in_force_s > time.time()
        text = f"change {change.number}, in force {'from' if is_coming else 'since'} {day}: {old}, then {new}"
        yield CheckResult(True, text, "Telephone the coordinator: is this change meant?" if is_coming else "")
    yield CheckResult(True, f"{len(home.pins.roots)} that all sign, fingerprint {consortium_fingerprint(home.pins)}")


def _clock(home: Home) -> Iterator[CheckResult]:
    off = sync.clock_offset_s(home)
    if off is None:
        yield CheckResult(False, "could not be compared: the coordinator was not reached")
    elif abs(off) > CLOCK_S:
        yield CheckResult(
            False,
            f"{abs(off):.0f} s {'behind' if off > 0 else 'ahead of'} the coordinator's",
            "Switch on time synchronisation (NTP). Messages are corrected for it, expiry dates are not.",
        )
    else:
        yield CheckResult(True, f"within {CLOCK_S:.0f} s of the coordinator's")


def _disk(home: Home) -> Iterator[CheckResult]:
    free = shutil.disk_usage(home.folder).free
    text = f"{free / 2**30:.0f} GiB free at {home.folder.resolve()}"
    yield CheckResult(free >= NEEDED_BYTES, text, "" if free >= NEEDED_BYTES else "Make room: 2 GiB at least.")
    probe = home.folder / ".probe"
    probe.write_bytes(b"1")
    probe.unlink()


def _release(home: Home) -> Iterator[CheckResult]:
    text = f"{VERSION}, code {code_digest()}, works with {', '.join(works_with())}"
    release, code = sync.coordinator_release(home)
    if release and code != code_digest():
        text += f"; the coordinator's {release} decides numbers otherwise (code {code[:12]}…)"
        yield CheckResult(False, text, f"Install a release that works with {release}: docs/upgrade.md")
    else:
        yield CheckResult(True, f"{text}; the coordinator has {release}" if release else text)


def _processor(home: Home) -> Iterator[CheckResult]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    graphics = Path("/dev/nvidia0").exists()
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    text = f"{cores} cores{', NVIDIA graphics' if graphics else ', no graphics processor (not needed)'}"
    yield CheckResult(tensorflow, text, "" if tensorflow else "TensorFlow is not installed: make .venv/run")


CHECKS: dict[str, Callable[[Home], Iterator[CheckResult]]] = {
    "keys": _keys,
    "settings": _settings,
    "access": _access,
    "roster": _roster,
    "roots": _roots,
    "address": address_check.look,
    "clock": _clock,
    "disk": _disk,
    "release": _release,
    "plans": plan_checks.look_at_plans,
    "witness": _witness,
    "images": plan_checks.look_at_images,
    "processor": _processor,
}
