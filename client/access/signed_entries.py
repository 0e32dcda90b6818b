"""Entries of the log that a person signed: who can write the site's folder still cannot write one in another's name."""

import base64
import time
from collections.abc import Mapping

from client.access.people import PersonKey
from client.access.policy_store import PolicyStore
from common.audit.entries import Entry, decode, plain, plain_facts
from common.audit.log import Act, Log
from common.errors import AccessError, AuditError, ConsiliumError
from common.trust.documents import canonical
from common.trust.keys import digest, verify

SIGNATURE, AT, POLICY, BY = "signature", "signed at", "policy", " as "


def sign(site: str, what: str, act: Act, version: int, key: PersonKey) -> dict[str, int | str]:
    """Facts that say which policy it was under, when, and that this person did it."""
    context: dict[str, int | str] = {POLICY: version, AT: time.time_ns() // 1_000_000}
    facts = plain_facts({**act.facts, **context})
    statement = _statement(site, plain(what), act.outcome or "done", plain(act.plan), plain(act.dataset), facts)
    return context | {SIGNATURE: base64.urlsafe_b64encode(key.private.sign(statement)).decode()}


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
    statement = _statement(store.site, entry.what, entry.outcome, entry.plan, entry.dataset, facts)
    verify(bytes.fromhex(person.key), signature, statement, who=name, what="entry")


def _statement(
    site: str, what: str, outcome: str, plan: str, dataset: str, facts: Mapping[str, int | str]
) -> bytes:  # fmt: skip
    content = {"site": site, "what": what, "outcome": outcome, "plan": plan, "dataset": dataset, "facts": dict(facts)}
    return digest("act", canonical(content))
