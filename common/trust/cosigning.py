"""What the consortium's roots sign together: papers that are carried from machine to machine until all have signed.

No root's machine needs the consortium's folder: a signing request holds the papers, the signatures so far, and the
roster that sites have now, against which a new one is read. It proves nothing before the coordinator has checked that
the papers are those that it drew up.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import IdentityError, PolicyError, WireError
from common.trust.documents import Kind, SignedDocument, read_document, sign_document
from common.trust.keys import digest, public_of, sign, verify
from common.trust.roster import MAX_ROOTS, Roster, roster_file

ROOT = "the consortium's root"
MOST_PAPERS = 256


@dataclass(frozen=True)
class RootPaper:
    """One paper that the roots sign, with the signatures that it has."""

    kind: Kind
    content: dict[str, Any]
    """A roster's: {"roster": its bytes, base64}."""
    signatures: Mapping[bytes, bytes]

    @classmethod
    def of(cls, document: SignedDocument) -> Self:
        """From a document."""
        return cls(document.kind, document.content, document.signatures)

    @classmethod
    def of_roster(cls, roster: Roster) -> Self:
        """From a roster that nobody has signed yet."""
        return cls("roster", {"roster": base64.b64encode(roster.content).decode()}, {})

    @property
    def digest(self) -> bytes:
        """What is signed."""
        if self.kind == "roster":
            return digest("roster", self.roster_content)
        return SignedDocument(self.kind, self.content, {}).digest

    @property
    def file(self) -> bytes:
        """The paper's own file, with the signatures that it has."""
        if self.kind == "roster":
            return roster_file(self.roster_content, self.signatures)
        return SignedDocument(self.kind, self.content, dict(self.signatures)).encode()

    @property
    def roster_content(self) -> bytes:
        """The bytes of a roster that the roots sign; for a paper that is one."""
        return base64.b64decode(self.content["roster"], validate=True)


@dataclass(frozen=True)
class SigningRequest:
    """Papers that all of some roots are to sign, together: none of them counts before all are signed by all."""

    consortium: str
    roots: tuple[bytes, ...]
    """Public keys of all who are to sign."""
    act: str
    """What is done when all have signed: `admit`, `plan`, …"""
    name: str
    """The name of its file."""
    papers: tuple[RootPaper, ...]
    before: bytes = b""
    """The signed roster that sites have now; empty before the first."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What else people read before they sign: a site's request, by the name `request`."""

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Who has signed all of it."""
        return tuple(root for root in self.roots if all(root in paper.signatures for paper in self.papers))

    @property
    def missing(self) -> tuple[bytes, ...]:
        """Who has not signed yet."""
        return tuple(root for root in self.roots if root not in self.signers)

    def sign(self, keys: Sequence[Ed25519PrivateKey]) -> Self:
        """The same, with the signatures of these keys too.

        Raises:
            IdentityError: `other-root`, a key that is not asked; `signed-already`.
        """
        for public in map(public_of, keys):
            if public not in self.roots:
                raise IdentityError(
                    "other-root", f"{self.name}: this root key is none of those that sign for {self.consortium}. Name "
                    "the right file with --root.",
                )  # fmt: skip
            if public in self.signers:
                raise IdentityError("signed-already", f"{self.name}: this root has signed already. Carry it on.")
        papers = (_with(paper, {public_of(key): sign(key, paper.digest) for key in keys}, self.roots)
                  for paper in self.papers)  # fmt: skip
        return replace(self, papers=tuple(papers))

    def merged(self, other: "SigningRequest") -> Self:
        """The same papers, with the signatures that another copy of the request has too.

        Raises:
            PolicyError: `changed-paper`, the other copy asks for something else.
        """
        if (self.roots, _digests(self)) != (other.roots, _digests(other)) or self.consortium != other.consortium:
            raise PolicyError(
                "changed-paper", f"{self.name}: is not what was drawn up here. Send the file that waits here round "
                "again, and find out who changed the other.",
            )  # fmt: skip
        pairs = zip(self.papers, other.papers, strict=True)
        return replace(self, papers=tuple(_with(mine, theirs.signatures, self.roots) for mine, theirs in pairs))

    def paper(self, kind: Kind) -> RootPaper | None:
        """Its paper of this kind; None: it has none."""
        return next((paper for paper in self.papers if paper.kind == kind), None)

    @property
    def file(self) -> bytes:
        """As it is carried."""
        papers = [SignedDocument(p.kind, p.content, dict(p.signatures)).to_json() for p in self.papers]
        content: dict[str, Any] = {"consortium": self.consortium, "act": self.act, "name": self.name, "papers": papers}
        content |= {"roots": [root.hex() for root in self.roots], "shown": dict(self.words)}
        content["before"] = base64.b64encode(self.before).decode()
        return sign_document("cosign", content, ()).encode()

    @classmethod
    def read(cls, file: bytes) -> Self:
        """From its file, every signature in it checked.

        Raises:
            WireError: it is none.
            IdentityError: `bad-signature`, a paper was changed after it was signed; `other-root`, a stranger signed.
        """
        try:
            content = read_document(file, "cosign").content
            roots = tuple(bytes.fromhex(root) for root in content["roots"])
            papers = tuple(_paper(fields) for fields in content["papers"])
            words = {str(name): str(text) for name, text in content["shown"].items()}
            before = base64.b64decode(content["before"], validate=True)
            if not 0 < len(papers) <= MOST_PAPERS or not 0 < len(set(roots)) == len(roots) <= 2 * MAX_ROOTS:
                raise ValueError
            request = cls(
                str(content["consortium"]), roots, str(content["act"]), str(content["name"]), papers, before, words
            )
            _ = _digests(request)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise WireError("a paper to sign of another release. Ask the coordinator for it again.") from None
        for paper in papers:
            for root, signature in paper.signatures.items():
                if root not in roots:
                    raise IdentityError("other-root", f"{request.name}: signed by a key that was not asked.")
                verify(root, signature, paper.digest, who=ROOT, what=paper.kind)
        return request


def _paper(fields: dict[str, Any]) -> RootPaper:
    signatures = {bytes.fromhex(key): bytes.fromhex(value) for key, value in fields["signatures"].items()}
    if not isinstance(fields["content"], dict):
        raise TypeError
    return RootPaper(fields["paper"], fields["content"], signatures)


def _digests(request: SigningRequest) -> list[tuple[str, bytes]]:
    return [(paper.kind, paper.digest) for paper in request.papers]


def _with(paper: RootPaper, signatures: Mapping[bytes, bytes], roots: Sequence[bytes]) -> RootPaper:
    """With more signatures, in the roots' order: whoever signs first, the file is the same in the end."""
    every = {**signatures, **paper.signatures}
    return replace(paper, signatures={root: every[root] for root in roots if root in every})
