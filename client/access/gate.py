"""The one place where a command is let in: who gives it, whether their role may, and a line in the site's log."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.access import permissions
from client.access.command_request import CommandRequest, Signer, new_challenge
from client.access.people import open_key, path_of
from client.access.permissions import RULES, CommandRule
from client.access.policy import Person, SitePolicy
from client.access.policy_store import policy_store
from client.access.refusal_notes import RefusalNotes
from client.access.signed_entries import UID
from client.admission import Admission
from client.home import Home, SiteFolder
from client.sources.case_table import located
from common.audit.entries import plain
from common.audit.log import user
from common.config import Encrypted
from common.errors import AccessError, ConfigError, IdentityError

NO_KEY, UNKNOWN, EXPIRED, NO_ROLE, NO_ROW = "no key", "unknown key", "not their time", "not their role", "no row"
NO_SIGNATURE = "no signature"


@dataclass(frozen=True)
class Actor:
    """Who gives a command, as what, and under which version of the policy."""

    person: Person
    signer: Signer
    admission: Admission

    @property
    def label(self) -> str:
        """The actor as the log names it: `ana as data-officer`."""
        return f"{self.admission.person} as {self.admission.role}"


# --- whether somebody may --------------------------------------------------------------------------------------------


def check(
    site: SiteFolder, request: CommandRequest, uid: int, challenge: str, notes: RefusalNotes | None = None
) -> tuple[Admission, Person]:
    """The one decision, for a command line in its own folder and for whoever comes to the door of a site.

    Args:
        uid: the system user whose process asks, as the kernel says.
        challenge: what was given to that process, once, to be signed with the command.
        notes: of a door, where strangers come: which refusals are written down; None: all.

    Raises:
        AccessError, IdentityError: it was not signed by somebody whom the policy lets do it, now. The log says so then.
    """
    with _refusals(site, request.action, uid, notes) as why:
        rule, policy = _rule(request.action, why), policy_store(site).in_force()
        why |= {"policy": policy.content.version, "refused": NO_SIGNATURE}
        request.demand(site.site, uid, challenge)
        person = _person(request.action, rule, policy, request.public, why)
        role = next((role for role in rule.roles or () if role in person.roles), None)
        if role is None:
            why["refused"] = NO_ROLE
            has = ", ".join(person.roles) or "no role"
            raise AccessError(f"{request.action}: {person.name} is {has}, and may not. {_needed(rule, policy)}")
        version = policy.content.version
        return Admission.grant(site.folder, request.action, person.name, role, version, uid), person


def admit(
    site: SiteFolder, action: str, key: Path | Signer | None = None, words: Sequence[str] = ()
) -> Actor:  # fmt: skip
    """Who gives this command in a folder of their own, if they may.

    Args:
        key: the file of their key (None: where it is looked for), or the key itself where it is open already.

    Raises:
        AccessError: nobody that the policy lets do it. The site's log says so then.
        ConfigError: the folder is another system user's.
    """
    _refuse_others_folder(site, action)
    with _refusals(site, action, os.geteuid()) as why:
        rule, policy = _rule(action, why), policy_store(site).in_force()
        why |= {"policy": policy.content.version, "refused": NO_KEY}
        try:
            if key is None or isinstance(key, Path):
                key = open_key(path_of(key, site.folder))
        except AccessError as error:
            raise AccessError(f"{error} For `{action}`: {_needed(rule, policy)}") from None
    challenge = new_challenge()
    request = CommandRequest.make(site.site, action, words, {}, os.geteuid(), challenge, key)
    admission, person = check(site, request, os.geteuid(), challenge)
    return Actor(person, key, admission)


def let_in(site: SiteFolder, action: str) -> Home:
    """A site in a folder of one's own with its keys, for a program that is no command of `python -m client`.

    Raises:
        AccessError, ConfigError: as `admit`.
    """
    return Home(site.folder, admit(site, action).admission)


def let_in_for(data: Encrypted, action: str) -> Home:
    """The site whose encrypted data set this is.

    Raises:
        AccessError, ConfigError: as `admit`.
    """
    return let_in(SiteFolder.at(folder_of(data)), action)


def admit_founder(folder: Path) -> Home:
    """A site that is made just now, of a backup, by whoever has its recovery key: the folder is new, and theirs.

    Raises:
        ConfigError: the folder is another system user's.
    """
    if folder.exists():
        _refuse_others_folder(SiteFolder(folder), "restore")
    return Home(folder, Admission.grant(folder, "restore --recovery", user(), "founder", 0, os.geteuid()))


def hand_over(admission: Admission, person: Person, request: CommandRequest) -> dict[str, Any]:
    """A decision as the resident process hands it to the worker that it starts."""
    return {"request": request.to_json(), "role": admission.role, "policy": admission.policy,
            "person": person.model_dump(mode="json")}  # fmt: skip


def take_over(site: SiteFolder, grant: Mapping[str, Any]) -> tuple[CommandRequest, Admission, Person]:
    """The decision that the resident process handed to this worker, which it started: it is not made a second time."""
    request, person = CommandRequest.from_json(grant["request"]), Person.model_validate(grant["person"], strict=False)
    admission = Admission.grant(site.folder, request.action, person.name, grant["role"], grant["policy"], request.uid)
    return request, admission, person


def note_stranger(site: SiteFolder, uid: int, notes: RefusalNotes) -> None:
    """Write down that somebody came to the site's door with what is no command."""
    _note(site, "door", {"refused": "no command", UID: uid, "error": AccessError.code}, notes)


def _rule(action: str, why: dict[str, int | str]) -> CommandRule:
    rule = RULES.get(action)
    if rule is None or rule.roles is None:
        why["refused"] = NO_ROW
        raise AccessError(f"{action}: no role may do this here; client/access/permissions.py has no row for it.")
    return rule


def _person(action: str, rule: CommandRule, policy: SitePolicy, public: str, why: dict[str, int | str]) -> Person:
    person = policy.content.person(public)
    if person is None:
        why["refused"] = UNKNOWN
        raise AccessError(
            f"{action}: the key {public[:8]}… is nobody's under this site's policy. {_needed(rule, policy)}"
        )
    why["person"] = person.name
    if not person.active(time.time()):
        why["refused"] = EXPIRED
        raise AccessError(f"{action}: the time of {person.name} has ended, or not begun. {_needed(rule, policy)}")
    return person


@contextmanager
def _refusals(
    site: SiteFolder, action: str, uid: int, notes: RefusalNotes | None = None
) -> Iterator[dict[str, int | str]]:  # fmt: skip
    """Whoever is refused is written down."""
    why: dict[str, int | str] = {"refused": "policy", UID: uid}
    try:
        yield why
    except (AccessError, IdentityError) as error:
        _note(site, plain(action), {**why, "error": error.code}, notes)
        raise


def _note(site: SiteFolder, what: str, facts: dict[str, int | str], notes: RefusalNotes | None) -> None:
    """An entry on a refusal, if it is to be one. Who has proved no key makes no kind of each word that they send."""
    person = facts.get("person")
    kind = (facts[UID], facts["refused"], *((person, what) if person else ()))
    if (surplus := notes.surplus(kind) if notes else 0) is not None:
        site.log.record(what, "failed", facts=facts | ({"left out": surplus} if surplus else {}))


def _needed(rule: CommandRule, policy: SitePolicy) -> str:
    """Which role would do, and who has it."""
    has = [person.name for person in policy.content.people
           if set(rule.roles or ()) & set(person.roles) and person.active(time.time())]  # fmt: skip
    return f"It needs the role {permissions.role_names(rule)}: {', '.join(has) or 'nobody has it'}."


def folder_of(data: Encrypted) -> Path:
    """The folder of the site whose data set this is."""
    return data.home or located(data.path).parent.parent


def _refuse_others_folder(site: SiteFolder, action: str) -> None:
    if (owner := site.folder.stat().st_uid) != os.geteuid():
        raise ConfigError(
            f"{site.folder}: belongs to user {owner}, and this is user {os.geteuid()}, who may not {action} there. Run "
            "it as the owner, so that the site can read what comes of it."
        )
