"""The policy for people: who is in it, what each role may do, and what a proposal would change."""

import time

from client.access.permissions import ROLES, RULES
from client.access.policy import Person, PolicyContent, SitePolicy
from common.cli.terminal import Sheet
from common.errors import AccessError


def people_table(content: PolicyContent, *, short_keys: bool) -> Sheet:
    """A row for each person: roles, from when until when, the key (on a screen the beginning of it)."""
    table = Sheet("person", "roles", "since", "until", "key", prose=("roles",))
    for person in content.people:
        since = day(person.since_s) if person.since_s else ""
        key = f"{person.key[:8]}…" if short_keys else person.key
        table.add(person.name, ", ".join(person.roles), since, _until(person), key)
    return table


def rules_table() -> Sheet:
    """A row for each command, a column for each role."""
    table = Sheet("command", *ROLES)
    for name, rule in RULES.items():
        table.add(name, *("yes" if rule.roles is None or role in rule.roles else "" for role in ROLES))
    return table


def show_proposal(before: SitePolicy, proposal: SitePolicy) -> None:
    """Print what a proposal would change in the version before it, or why it cannot come into force."""
    print(f"\nProposal {proposal.digest[:8]}, which waits for a second signature:")
    try:
        proposal.missing(before, time.time())
        show_changes(before, proposal)
    except AccessError as error:
        print(f"  cannot come into force: {error}")


def show_changes(before: SitePolicy, after: SitePolicy) -> None:
    """Print a line for each person, and for the purposes, where two versions differ."""
    old, new = ({person.name: person for person in policy.content.people} for policy in (before, after))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            print(f"  {name}: {_describe(old.get(name))}  →  {_describe(new.get(name))}")
    if before.content.purposes != after.content.purposes:
        print(f"  purposes: {', '.join(before.content.purposes)}  →  {', '.join(after.content.purposes)}")
    if before.content.archives != after.content.archives:
        old_archives, new_archives = ("; ".join(policy.content.archives) or "none" for policy in (before, after))
        print(f"  archives that results may be sent to: {old_archives}  →  {new_archives}")
    if before.content.plugins != after.content.plugins:
        old_plugins, new_plugins = ("; ".join(policy.content.plugins) or "none" for policy in (before, after))
        print(f"  plug-ins, code of others that plans may use here: {old_plugins}  →  {new_plugins}")


def _describe(person: Person | None) -> str:
    if person is None:
        return "not in it"
    times = f", from {day(person.since_s)}" * bool(person.since_s) + f", until {_until(person)}" * bool(person.until_s)
    return f"{', '.join(person.roles) or 'no role'}{times}, key {person.key[:16]}…"


def _until(person: Person) -> str:
    return day(person.until_s - 1) if person.until_s else ""


def day(at_s: int) -> str:
    """The day of a moment (seconds since 1970), in UTC: `2026-11-30`."""
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))
