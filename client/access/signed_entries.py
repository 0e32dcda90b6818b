"""Entries of the log that a person signed: who can write the site's folder still cannot write one in another's name."""

import base64
import time
from collections.abc import Mapping
from typing import Any

from client.access.command_request import Signer
from client.access.policy_store import PolicyStore
from client.admission import Admission
from common.audit.entries import Entry, decode, plain, plain_facts
from common.audit.log import Act, Log
from common.errors import AccessError, AuditError, ConsiliumError
from common.trust.keys import verify
from common.trust.statements import statement

SIGNATURE, AT, POLICY, UID, BY = "signature", "signed at", "policy", "system user", " as "


def sign(site: str, what: str, act: Act, admission: Admission, signer: Signer) -> dict[str, int | str]:
    """Facts that say under which policy it was, when, from which system user's account, and that this person did it."""
    context: dict[str, int | str] = {POLICY: admission.policy, UID: admission.uid, AT: time.time_ns() // 1_000_000}
    facts = plain_facts({**act.facts, **context})
    content = _content(site, plain(what), act.outcome or "done", plain(act.plan), plain(act.dataset), facts)
    return context | {SIGNATURE: base64.urlsafe_b64encode(signer.sign("act", content)).decode()}


def verify_all(log: Log, store: PolicyStore) -> int:
    """Check every signature of a person in the log; how many there are.

    Raises:
        AuditError: one is not that person's, stands twice, or is missing.
    """
    signatures: set[str] = set()
    for number, line in enumerate(log.lines()):
        if BY.encode() not in line:
            continue
        entry = decode(line, number, str(log.folder))
        if BY not in entry.role or entry.outcome == "begun" or "error" in entry.facts:
            continue
        if (signature := entry.facts.get(SIGNATURE)) is None:
            raise AuditError(f"entry {number}: {entry.role} did not sign it.")
        if str(signature) in signatures:
            raise AuditError(f"entry {number}: has the signature of an earlier one; it was copied.")
        signatures.add(str(signature))
        try:
            _verify(entry, store)
        except (ConsiliumError, ValueError) as error:
            raise AuditError(f"entry {number}: was not signed by {entry.role or 'anybody'} ({error}).") from None
    return len(signatures)


def _verify(entry: Entry, store: PolicyStore) -> None:
    facts = dict(entry.facts)
    signature = base64.urlsafe_b64decode(str(facts.pop(SIGNATURE)))
    name, _, role = entry.role.partition(BY)
    people = store.version(int(facts.get(POLICY, 0))).content.people
    person = next((each for each in people if each.name == name), None)
    if person is None or role not in person.roles:
        raise AccessError(f"{name} was no {role} then.")
    content = _content(store.site, entry.what, entry.outcome, entry.plan, entry.dataset, facts)
    verify(bytes.fromhex(person.key), signature, statement("act", content), who=name, what="entry")


def _content(
    site: str, what: str, outcome: str, plan: str, dataset: str, facts: Mapping[str, int | str]
) -> dict[str, Any]:  # fmt: skip
    return {"site": site, "what": what, "outcome": outcome, "plan": plan, "dataset": dataset, "facts": dict(facts)}
