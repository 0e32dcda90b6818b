"""What a person types to change the policy, as the content of its next version; and the first policy of a site."""

import argparse
import re
import time
from datetime import UTC, datetime

from client.access import people, permissions
from client.access.permissions import OFFICER, ROLES
from client.access.policy import Person, PolicyContent, SitePolicy
from client.access.policy_store import policy_store
from client.home import SiteFolder
from common.audit.log import user
from common.errors import ConfigError
from common.plugins import find_plugin
from common.trust.joining import checked_name


def person_name(name: str) -> str:
    """A person's name: as given, else the system user's."""
    return checked_name(name or re.sub(r"[^A-Za-z0-9_.-]+", "-", user()).strip("-._") or "me", "--person")


def begin_policy(home: SiteFolder, person: str = "") -> SitePolicy:
    """The first policy of a site: one person in all roles, whose key is made in the site's folder.

    Raises:
        ConfigError: there was one before.
    """
    name, path = person_name(person), home.folder / people.OWN_FILE
    key = people.open_key(path) if path.exists() else people.make(path)
    return policy_store(home).begin(name, key.private, key.public, home.settings.policy.purposes)


def changed_content(before: SitePolicy, options: argparse.Namespace) -> PolicyContent:
    """The next version's content.

    Raises:
        ConfigError: somebody who is not there, or a change that cannot be.
    """
    content = before.content
    people = {person.name: person for person in content.people}

    def change(name: str, **update: object) -> None:
        if name not in people:
            raise ConfigError(f"{name}: is not in the policy; there is: {', '.join(people)}.")
        people[name] = Person.model_validate({**people[name].model_dump(), **update})

    for name in options.remove:
        change(name)
        del people[name]
    for name, key, roles in options.add:
        if name in people:
            raise ConfigError(f"{name}: is in the policy already; --roles changes what they may.")
        people[name] = Person(name=name, key=key.lower(), roles=_roles(roles))
    for name, roles in options.roles:
        change(name, roles=_roles(roles))
    for name, day in options.since:
        change(name, since_s=_midnight_s(day))
    for name, day in options.until:
        change(name, until_s=_midnight_s(day) + 86_400)
    purposes = content.purposes if options.purposes is None else tuple(filter(None, options.purposes.split(",")))
    archives = content.archives if options.results_to is None else tuple(dict.fromkeys(options.results_to))
    plugins = content.plugins if options.plugins is None else tuple(dict.fromkeys(map(_plugin, options.plugins)))
    after = (tuple(people.values()), purposes, archives, plugins)
    if after == (content.people, content.purposes, content.archives, content.plugins):
        raise ConfigError(
            "nothing would change; expected --add, --roles, --remove, --since, --until, --purposes, --results-to or "
            "--plugins."
        )
    return PolicyContent(
        site=content.site,
        version=content.version + 1,
        previous=before.digest,
        made_s=int(time.time()),
        purposes=purposes,
        people=tuple(people.values()),
        archives=archives,
        plugins=plugins,
    )


def lone_officer_warning(content: PolicyContent) -> str:
    """A warning where one person can change the policy; else nothing."""
    if len(officers := content.officers(time.time())) > 1:
        return ""
    name = officers[0].name if officers else "nobody"
    return (
        f"One person alone, {name}, can change the policy. Name a second {OFFICER}: they run `python -m client access "
        f"person NAME`, and you `python -m client access propose --add NAME KEY {OFFICER}`."
    )


def _plugin(text: str) -> str:
    """NAME@DIGEST; of a name alone, with the digest of what is installed here."""
    return text if "@" in text else f"{text}@{find_plugin(text).sha256}"


def _roles(text: str) -> tuple[permissions.Role, ...]:
    words = {word.strip() for word in text.split(",") if word.strip()}
    if strange := sorted(words - set(ROLES)):
        raise ConfigError(f"{strange[0]}: expected some of {', '.join(ROLES)}, with commas between.")
    return tuple(role for role in ROLES if role in words)


def _midnight_s(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ConfigError(f"{text}: expected a date like 2026-11-30.") from None
