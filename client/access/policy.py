"""The site's policy: its people, their roles, and for which purposes plans may be approved. A signed paper.

Every version names the one before by its digest, and is signed by two data officers of that one, or by one where it had
only one. The first is signed by the person whom it makes data officer; the site's log remembers which that was.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from client.access.permissions import OFFICER, ROLES, Role
from common.audit.entries import decode
from common.audit.log import Log
from common.config import Frozen
from common.errors import AccessError, ConfigError, ConsiliumError
from common.storage.files import replace
from common.trust import documents
from common.trust.documents import Paper

EVENT = "policy"
"""What the log calls a version that came into force."""
CLOCK_S = 600
"""A policy may be made so long in the future by this machine's clock, and no longer: else one officer could name a time
when the other's has ended, and sign alone."""
HOW_TO = "docs/access.md says how a policy is changed."

Seconds = Annotated[int, Field(strict=True, ge=0, le=10**11)]


class Member(Frozen):
    """A person."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    roles: tuple[Role, ...]
    since_s: Seconds = 0
    until_s: Seconds | None = None
    """None: until they are removed."""

    def active(self, at_s: float) -> bool:
        """Whether it is their time."""
        return self.since_s <= at_s and (self.until_s is None or at_s < self.until_s)


class Content(Frozen):
    """What is signed."""

    site: str
    version: Annotated[int, Field(strict=True, ge=1, le=10**6)]
    previous: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
    """Digest of the version before; empty for the first."""
    made_s: Seconds
    purposes: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]
    people: tuple[Member, ...]

    def officers(self, at_s: float) -> tuple[Member, ...]:
        """Who may change it."""
        return tuple(person for person in self.people if OFFICER in person.roles and person.active(at_s))

    def person(self, key: str) -> Member | None:
        """Whose key this is."""
        return next((person for person in self.people if person.key == key), None)

    def refuse_unfit(self) -> None:
        """Refuse what would let one person count twice, or lock everybody out.

        Raises:
            ConfigError: saying which.
        """
        names, keys = [person.name for person in self.people], [person.key for person in self.people]
        for what, found in (("name", names), ("key", keys)):
            if twice := next((each for each in found if found.count(each) > 1), None):
                raise ConfigError(f"the {what} {twice} stands twice; expected one person, one name and one key.")
        if not any(OFFICER in person.roles and person.until_s is None for person in self.people):
            raise ConfigError(f"nobody is {OFFICER} without an end, and then nobody could change the policy any more.")


@dataclass(frozen=True)
class Policy:
    """One version."""

    content: Content
    paper: Paper

    @property
    def digest(self) -> str:
        """Its name."""
        return self.paper.digest.hex()

    @classmethod
    def write(cls, content: Content, keys: Sequence[Ed25519PrivateKey]) -> Self:
        """A version under these signatures.

        Raises:
            ConfigError: for one that cannot be.
        """
        content.refuse_unfit()
        return cls(content, documents.signed("policy", content.model_dump(mode="json"), keys))

    @classmethod
    def read(cls, file: bytes) -> Self:
        """A version from a file; its signatures are not yet checked.

        Raises:
            AccessError: it is none.
        """
        try:
            paper = documents.read(file, "policy")
            content = Content.model_validate(paper.content)
            content.refuse_unfit()
            if content.model_dump(mode="json") != paper.content or paper.encode() != file:
                raise ConfigError("it is not written as this release writes it.")
            return cls(content, paper)
        except (ConsiliumError, ValidationError) as error:
            said = " ".join(str(error).split())[:300]
            raise AccessError(f"the site's policy is not what was written: {said} {HOW_TO}") from None

    def also_signed(self, key: Ed25519PrivateKey) -> Self:
        """The same, with one more signature."""
        more = documents.signed("policy", self.paper.content, [key]).signatures
        return dataclasses.replace(self, paper=Paper("policy", self.paper.content, {**self.paper.signatures, **more}))

    def missing(self, before: "Policy | None") -> int:
        """How many signatures it still needs.

        Args:
            before: the version in force; None: there is none, and this is to be the first.

        Raises:
            AccessError: it does not follow on that one, or is signed by somebody else.
        """
        told, base = self.content, before.content if before else None
        version, previous, site = (
            (base.version + 1, before.digest, base.site) if before and base else (1, "", told.site)
        )
        if (told.version, told.previous, told.site) != (version, previous, site):
            raise AccessError(
                f"policy version {told.version} of site {told.site} does not follow on version {version - 1} of {site}"
                f": it is another's, an older one, or was made from another version. {HOW_TO}"
            )
        if base and told.made_s < base.made_s:
            raise AccessError(f"policy version {version} was made before version {version - 1}. {HOW_TO}")
        officers = {person.key: person for person in (base or told).officers(told.made_s)}
        for key in self.paper.signatures:
            if key.hex() not in officers:
                raise AccessError(
                    f"policy version {version} is signed by key {key.hex()[:8]}…, which is no {OFFICER}'s. {HOW_TO}"
                )
            try:
                self.paper.demand([key], officers[key.hex()].name)
            except ConsiliumError:
                name = officers[key.hex()].name
                raise AccessError(
                    f"policy version {version}: the signature is not {name}'s: it was changed since. {HOW_TO}"
                ) from None
        needed = min(2, len(officers)) if base else 1
        return max(0, needed - len(self.paper.signatures))


@dataclass(frozen=True)
class Shelf:
    """The policy of a site, all versions: `access/1`, `access/2` …, and `access/proposal`."""

    folder: Path
    site: str
    log: Log

    @property
    def begun(self) -> bool:
        """Whether there is a first version."""
        return self._file(1).exists()

    def begin(self, name: str, key: Ed25519PrivateKey, public: str, purposes: tuple[str, ...]) -> Policy:
        """The first version: one person in all roles.

        Raises:
            ConfigError: there was a policy here before.
        """
        if self.begun or self._remembered():
            raise ConfigError(f"{self.folder}: this site has a policy already. {HOW_TO}")
        person = Member(name=name, key=public, roles=ROLES)
        content = Content(
            site=self.site, version=1, previous="", made_s=int(time.time()), purposes=purposes, people=(person,)
        )  # fmt: skip
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        policy = Policy.write(content, [key])
        self.put(policy)
        return policy

    def put(self, policy: Policy) -> None:
        """Let a version come into force."""
        # The file first: after a crash in between the log knows less than it, and not the other way round.
        replace(self._file(policy.content.version), policy.paper.encode())
        self._remember(policy)
        (self.folder / "proposal").unlink(missing_ok=True)

    def newest(self) -> Policy:
        """The version in force, by its signatures alone.

        Raises:
            AccessError: there is none, or it is not what two data officers signed.
        """
        return self._chain()[-1]

    def in_force(self) -> Policy:
        """The version in force, which the log knows as well.

        Raises:
            AccessError: as `newest`, and if it was set back or is not the one that the log remembers.
            AuditError: the log is not what was written.
        """
        chain, remembered = self._chain(), self._remembered()
        for version, digest in remembered.items():
            if version > len(chain) or chain[version - 1].digest != digest:
                raise AccessError(
                    f"{self.folder}: version {version} of the policy, which the site's log knows, is gone or another: "
                    f"the policy was set back or put in its place. Restore the folder from a backup. {HOW_TO}"
                )
        for policy in chain:
            if policy.content.version not in remembered:
                if not remembered:
                    raise AccessError(f"{self.folder}: the site's log knows of no policy. Restore both. {HOW_TO}")
                self._remember(policy)  # a process was killed between file and log
        return chain[-1]

    def version(self, number: int) -> Policy:
        """An earlier version.

        Raises:
            AccessError: there is none.
        """
        chain = self._chain()
        if not 1 <= number <= len(chain):
            raise AccessError(f"{self.folder}: there is no version {number} of the policy.")
        return chain[number - 1]

    # --- a version that waits for a signature ---

    def proposal(self) -> Policy | None:
        """What waits for a signature."""
        path = self.folder / "proposal"
        return Policy.read(path.read_bytes()) if path.exists() else None

    def offer(self, policy: Policy) -> bool:
        """Let a version come into force if its signatures are enough, else wait for more; whether it is in force.

        Raises:
            AccessError: it does not follow on the one in force, or is not signed rightly.
        """
        if policy.missing(self.in_force()):
            replace(self.folder / "proposal", policy.paper.encode())
            return False
        self.put(policy)
        return True

    # --- inside ---

    def _file(self, version: int) -> Path:
        return self.folder / str(version)

    def _chain(self) -> list[Policy]:
        found: list[Policy] = []
        while (path := self._file(len(found) + 1)).exists():
            policy = Policy.read(path.read_bytes())
            if policy.missing(found[-1] if found else None):
                raise AccessError(f"{path}: is signed by one alone, and two are needed. {HOW_TO}")
            if policy.content.site != self.site or policy.content.made_s > time.time() + CLOCK_S:
                raise AccessError(f"{path}: the policy of site {policy.content.site}, or made in the future. {HOW_TO}")
            found.append(policy)
        if not found:
            raise AccessError(
                f"{self.folder}: this site has no policy, so nobody may do anything. One of an earlier release gets "
                "its first with `python -m client access begin`; a lost one comes from the backup."
            )
        return found

    def _remember(self, policy: Policy) -> None:
        facts: dict[str, int | str] = {"version": policy.content.version, "digest": policy.digest}
        self.log.record(EVENT, facts=facts)

    def _remembered(self) -> dict[int, str]:
        """Versions and digests that the log knows."""
        found = {}
        for number, line in enumerate(self.log.lines()) if self.log.exists else ():
            if f'"what":"{EVENT}"'.encode() in line:
                entry = decode(line, number, str(self.log.folder))
                found[int(entry.facts["version"])] = str(entry.facts["digest"])
        return found
