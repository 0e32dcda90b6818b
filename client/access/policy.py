"""The site's policy: its people, their roles, and for which purposes plans may be approved. A signed paper.

Every version names the one before by its digest, and is signed by two data officers of that one, or by one where it had
only one. The first is signed by the person whom it makes data officer; the site's log remembers which that was.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from client.access.command_request import Signer
from client.access.permissions import OFFICER, Role
from common.config import Frozen
from common.errors import AccessError, ConfigError, ConsiliumError
from common.trust.documents import SignedDocument, read_document, sign_document

HOW_TO = "docs/access.md says how a policy is changed."

Seconds = Annotated[int, Field(strict=True, ge=0, le=10**11)]


class Person(Frozen):
    """A person in the policy: name, public key, roles, and from when until when."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    roles: tuple[Role, ...]
    since_s: Seconds = 0
    until_s: Seconds | None = None
    """None: until they are removed."""

    def active(self, at_s: float) -> bool:
        """Whether it is their time."""
        return self.since_s <= at_s and (self.until_s is None or at_s < self.until_s)


class PolicyContent(Frozen):
    """The content of one version of the policy, which data officers sign."""

    site: str
    version: Annotated[int, Field(strict=True, ge=1, le=10**6)]
    previous: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
    """Digest of the version before; empty for the first."""
    made_s: Seconds
    purposes: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]
    people: tuple[Person, ...]
    archives: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]* [!-~]{1,300}$")], ...] = ()
    """Image archives that results may be sent to: name and address of each."""
    plugins: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*@[0-9a-f]{64}$")], ...] = ()
    """Plug-ins that plans may name, and models that others share: NAME@DIGEST each."""

    def to_json(self) -> dict[str, Any]:
        """As it is signed: without archives or plug-ins just as releases wrote it that knew of none."""
        tree: dict[str, Any] = self.model_dump(mode="json")
        return {key: value for key, value in tree.items() if value or key not in ("archives", "plugins")}

    def officers(self, at_s: float) -> tuple[Person, ...]:
        """Who may change it."""
        return tuple(person for person in self.people if OFFICER in person.roles and person.active(at_s))

    def needed(self, at_s: float | None) -> int:
        """How many data officers have to sign the next version.

        Args:
            at_s: when it is accepted, by the site's own clock; None: at whatever moment, so the fewest.
        """
        lasting = [p for p in self.people if OFFICER in p.roles and p.until_s is None and p.since_s <= (at_s or 0)]
        return min(2, max(1, len(lasting), len(self.officers(at_s)) if at_s is not None else 0))

    def person(self, key: str) -> Person | None:
        """Whose key this is."""
        return next((person for person in self.people if person.key == key), None)

    def refuse_unfit(self) -> None:
        """Refuse what would let one person count twice, or lock everybody out.

        Raises:
            ConfigError: saying which.
        """
        names, keys = [person.name for person in self.people], [person.key for person in self.people]
        for what, values in (("name", names), ("key", keys)):
            if twice := next((each for each in values if values.count(each) > 1), None):
                raise ConfigError(f"the {what} {twice} stands twice; expected one person, one name and one key.")
        if not any(OFFICER in person.roles and person.until_s is None for person in self.people):
            raise ConfigError(f"nobody is {OFFICER} without an end, and then nobody could change the policy any more.")

    def refuse_lapse(self) -> None:
        """Refuse what would leave one data officer alone when the time of the others is over.

        Raises:
            ConfigError: it would.
        """
        officers = [person for person in self.people if OFFICER in person.roles]
        if len(officers) > 1 and sum(person.until_s is None for person in officers) < 2:
            raise ConfigError(
                f"of several people who are {OFFICER} two at least have no end: else one could wait, and be alone. "
                "Limit the time of a third."
            )


@dataclass(frozen=True)
class SitePolicy:
    """One version of the policy, with its signatures."""

    content: PolicyContent
    document: SignedDocument

    @property
    def digest(self) -> str:
        """The digest of this version, by which the next one names it."""
        return self.document.digest.hex()

    @classmethod
    def write(cls, content: PolicyContent, keys: Sequence[Ed25519PrivateKey]) -> Self:
        """A version under these signatures.

        Raises:
            ConfigError: for one that cannot be.
        """
        content.refuse_unfit()
        return cls(content, sign_document("policy", content.to_json(), keys))

    @classmethod
    def read(cls, file: bytes) -> Self:
        """A version from a file; its signatures are not yet checked.

        Raises:
            AccessError: it is none.
        """
        try:
            paper = read_document(file, "policy")
            content = PolicyContent.model_validate(paper.content)
            content.refuse_unfit()
            if content.to_json() != paper.content or paper.encode() != file:
                raise ConfigError("it is not written as this release writes it.")
            return cls(content, paper)
        except (ConsiliumError, ValidationError) as error:
            reason = " ".join(str(error).split())[:300]
            raise AccessError(f"the site's policy is not what was written: {reason} {HOW_TO}") from None

    def also_signed(self, signer: Signer, before: "SitePolicy") -> Self:
        """The same, with one more signature."""
        signature = signer.sign("policy", self.document.content, before.document.encode())
        more = {bytes.fromhex(signer.public): signature}
        return dataclasses.replace(
            self, document=SignedDocument("policy", self.document.content, {**self.document.signatures, **more})
        )

    def missing(self, before: "SitePolicy | None", at_s: float | None) -> int:
        """How many signatures it still needs.

        Args:
            before: the version in force; None: there is none, and this is to be the first.
            at_s: when it is accepted, by the site's own clock: those sign who are data officers then, and the date that
                stands in it does not matter. None: as `PolicyContent.needed`.

        Raises:
            AccessError: it does not follow on that one, or is signed by somebody else.
        """
        content, base = self.content, before.content if before else None
        version, previous, site = (
            (base.version + 1, before.digest, base.site) if before and base else (1, "", content.site)
        )
        if (content.version, content.previous, content.site) != (version, previous, site):
            raise AccessError(
                f"policy version {content.version} of site {content.site} does not follow on version {version - 1} of "
                f"{site}: it is another's, an older one, or was made from another version. {HOW_TO}"
            )
        if base and content.made_s < base.made_s:
            raise AccessError(f"policy version {version} was made before version {version - 1}. {HOW_TO}")
        people = (base or content).people
        officers = {p.key: p for p in people if OFFICER in p.roles and (base is None or at_s is None or p.active(at_s))}
        for key in self.document.signatures:
            if key.hex() not in officers:
                raise AccessError(
                    f"policy version {version} is signed by key {key.hex()[:8]}…, which is no {OFFICER}'s. {HOW_TO}"
                )
            try:
                self.document.verify([key], officers[key.hex()].name)
            except ConsiliumError:
                name = officers[key.hex()].name
                raise AccessError(
                    f"policy version {version}: the signature is not {name}'s: it was changed since. {HOW_TO}"
                ) from None
        needed = base.needed(at_s) if base else 1
        return max(0, needed - len(self.document.signatures))
