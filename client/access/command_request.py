"""What a person signs to give a command: which, with which words and files, where, when, and from which account."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from common.errors import AccessError
from common.trust.keys import verify
from common.trust.statements import StatementKind, statement

MOST_WORDS = 4096
CHALLENGE_BYTES = 32


class Signer(Protocol):
    """Whoever signs as a person: their key; behind the door their process, which has it and looks at what it signs."""

    @property
    def public(self) -> str:
        """64 hexadecimal digits, as the policy has them."""
        ...

    def sign(self, kind: StatementKind, content: Mapping[str, Any], before: bytes = b"") -> bytes:
        """The signature of `common.trust.statements.statement`.

        Args:
            before: of a policy, the version that it changes, for who wants to see what changes.
        """
        ...


def new_challenge() -> str:
    """A number that was never asked before: what answers it was signed after it."""
    return secrets.token_hex(CHALLENGE_BYTES)


@dataclass(frozen=True)
class CommandRequest:
    """A command with a person's signature on it."""

    site: str
    action: str
    """The row of `client.access.permissions.RULES` that it claims to be; whoever runs it looks whether it is."""
    words: tuple[str, ...]
    """As they were typed, without `--home` and `--as`."""
    files: Mapping[str, str]
    """Digests of the files that are handed in, by the words that name them."""
    uid: int
    """The system user whose process asks."""
    challenge: str
    public: str
    signature: bytes

    @classmethod
    def make(
        cls, site: str, action: str, words: Sequence[str], files: Mapping[str, str], uid: int, challenge: str,
        signer: Signer,
    ) -> Self:  # fmt: skip
        """A command, signed."""
        content = _content(site, action, words, files, uid, challenge)
        return cls(
            site, action, tuple(words), dict(files), uid, challenge, signer.public, signer.sign("command", content)
        )

    @property
    def content(self) -> dict[str, Any]:
        """What is signed."""
        return _content(self.site, self.action, self.words, self.files, self.uid, self.challenge)

    def demand(self, site: str, uid: int, challenge: str) -> None:
        """Refuse what was signed by another key, or for another site, system user or moment.

        Raises:
            AccessError: it was.
            IdentityError: the signature is not that key's.
        """
        for what, claim, fact in (
            ("site", self.site, site), ("system user", self.uid, uid), ("challenge", self.challenge, challenge),
        ):  # fmt: skip
            if claim != fact:
                raise AccessError(
                    f"{self.action}: was signed for another {what} than this one. Give the command again."
                )
        verify(
            bytes.fromhex(self.public), self.signature, statement("command", self.content), who="you", what="command"
        )

    def to_json(self) -> dict[str, Any]:
        """As it goes through the door."""
        return {**self.content, "public": self.public, "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """What came through the door.

        Raises:
            AccessError: it is no command.
        """
        try:
            words, files = tree["words"], tree["files"]
            texts = [tree[key] for key in ("site", "action", "challenge", "public", "signature")]
            if not (
                all(isinstance(text, str) for text in (*texts, *words, *files, *files.values()))
                and isinstance(words, list) and len(words) <= MOST_WORDS and type(tree["uid"]) is int
                and len(bytes.fromhex(tree["public"])) == 32
            ):  # fmt: skip
                raise ValueError
            return cls(
                tree["site"], tree["action"], tuple(words), dict(files), tree["uid"], tree["challenge"],
                tree["public"], bytes.fromhex(tree["signature"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            raise AccessError(
                "a command that is not as this release writes it. Is the same release here and there?"
            ) from None


def _content(
    site: str, action: str, words: Sequence[str], files: Mapping[str, str], uid: int, challenge: str
) -> dict[str, Any]:  # fmt: skip
    return {
        "site": site, "action": action, "words": list(words), "files": dict(files), "uid": uid, "challenge": challenge,
    }  # fmt: skip
