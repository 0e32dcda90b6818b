"""A site with people: one of each role, one who was removed, one whose time has ended, one who never was."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from client.__main__ import main
from client.access import people
from client.access.people import PersonKey
from client.access.permissions import ROLES
from client.access.policy import Person, PolicyContent, SitePolicy
from client.access.policy_store import policy_store
from client.home import Home
from client.setup import enrol
from common.audit.entries import Entry, decode
from tests.admitted import home_of


@dataclass
class Site:
    """Made as its people make it."""

    folder: Path
    keys: dict[str, PersonKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        enrol.begin(self.home, "lisbon", "", person="founder")
        self.keys["founder"] = people.open_key(self.folder / "site" / "me.key")

    @property
    def home(self) -> Home:
        """Its folder."""
        return home_of(self.folder / "site")

    def file(self, name: str) -> Path:
        """A person's key."""
        return self.folder / "site" / "me.key" if name == "founder" else self.folder / f"{name}.key"

    def key(self, name: str) -> PersonKey:
        """Made when it is asked for."""
        if name not in self.keys:
            self.keys[name] = people.make(self.file(name))
        return self.keys[name]

    def member(self, name: str, *roles: str, **more: int) -> Person:
        """A person as the policy has them."""
        return Person.model_validate({"name": name, "key": self.key(name).public, "roles": roles, **more})

    def content(self, *members: Person, **more: object) -> PolicyContent:
        """The next version: these people beside those that are there."""
        before = policy_store(self.home).in_force()
        there = {person.name: person for person in before.content.people} | {person.name: person for person in members}
        told = {"version": before.content.version + 1, "previous": before.digest, "made_s": int(time.time())}
        return before.content.model_copy(update={**told, "people": tuple(there.values()), **more})

    def sign(self, content: PolicyContent, *names: str) -> SitePolicy:
        """A version under these people's signatures."""
        return SitePolicy.write(content, [self.key(name).private for name in names])

    def put(self, *members: Person, by: tuple[str, ...] = ("founder",), **more: object) -> SitePolicy:
        """The next version, in force."""
        policy = self.sign(self.content(*members, **more), *by)
        assert policy_store(self.home).offer(policy)
        return policy

    def of_each_role(self) -> None:
        """`data-officer`, `operator` … each with one role; `revoked` and `expired` with all that they had."""
        one_each = [self.member(role, role) for role in ROLES]
        self.put(*one_each, self.member("revoked", *ROLES), self.member("expired", *ROLES, until_s=10**9))
        self.put(
            by=("founder", "data-officer"),
            people=tuple(
                person for person in policy_store(self.home).in_force().content.people if person.name != "revoked"
            ),
        )

    def type(self, *words: str | Path, by: str = "founder") -> int:
        """Give a command; its exit status."""
        return main([*map(str, words), "--home", str(self.home.folder), "--as", str(self.file(by))])

    def entries(self, since: int = 0) -> list[Entry]:
        """The log, from an entry on."""
        return [decode(line, number, "") for number, line in enumerate(self.home.log.lines()) if number >= since]
