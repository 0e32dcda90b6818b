"""A site's word on what its patients have paid: left with the coordinator and all other sites, before an answer leaves.

A site that was restored from a backup does not know what it answered since; its own word says it. It is signed twice:
under the site's identity, for others, and under the key of its log, which it still has when it has new keys.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.heads import MOST_S
from common.errors import WireError
from common.privacy.account import SLACK
from common.trust.documents import SignedDocument, read_document, sign_document

MOST_SETS = 10_000


@dataclass(frozen=True)
class BudgetRest:
    """What is left of a budget on one data set, for its training patients."""

    rest: float
    """ε of the largest plan that still fits, at this δ."""
    epsilon: float
    delta: float


@dataclass(frozen=True)
class AccountStatement:
    """What was paid by one site."""

    site: str
    paid: Mapping[str, float]
    """By the version of a set of patients, μ² of all answers over it."""
    rest: Mapping[str, BudgetRest]
    """By data set."""
    at_s: float
    document: SignedDocument
    tails: Mapping[str, float] = field(default_factory=dict)
    """By the version of a set of patients, the tails of δ that were paid, where there are some."""

    @classmethod
    def sign(
        cls, site: str, paid: Mapping[str, float], rest: Mapping[str, BudgetRest], keys: Sequence[Ed25519PrivateKey],
        tails: Mapping[str, float] | None = None,
    ) -> Self:  # fmt: skip
        """A site's word.

        Args:
            keys: its identity, and that of its log.
        """
        content: dict[str, Any] = {"site": site, "paid": dict(paid), "at_s": time.time()}
        content["rest"] = {name: vars(rest) for name, rest in rest.items()}
        if tails:
            content["tails"] = dict(tails)
        return cls._of(sign_document("account", content, keys))

    @classmethod
    def load_verified(cls, file: bytes, key: bytes, site: str) -> Self:
        """A site's word under one of the two keys.

        Raises:
            WireError: it is none, or another's.
            IdentityError: it is not signed under this key.
        """
        statement = cls._of(read_document(file, "account"))
        statement.document.verify([key], site)
        if statement.site != site:
            raise WireError(f"a word of {statement.site} on its account, expected one of {site}.")
        return statement

    @classmethod
    def of_file(cls, file: bytes) -> Self:
        """A word that was verified before.

        Raises:
            WireError: it is none.
        """
        return cls._of(read_document(file, "account"))

    @property
    def total(self) -> float:
        """Of all sets: it only grows."""
        return math.fsum(self.paid.values())

    def is_behind(self, total: float) -> bool:
        """Whether more was paid by then than it says."""
        return self.total < total * (1 - SLACK)

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        content = document.content
        try:
            paid = {str(version): _amount(value) for version, value in content["paid"].items()}
            rest = {
                str(name): BudgetRest(*(_amount(value[key]) for key in ("rest", "epsilon", "delta")))
                for name, value in content["rest"].items()
            }
            tails = {str(version): _amount(value) for version, value in content.get("tails", {}).items()}
            at_s = float(content["at_s"])
            if not 0 <= at_s < MOST_S or max(len(paid), len(rest), len(tails)) > MOST_SETS:
                raise ValueError
            return cls(str(content["site"]), paid, rest, at_s, document, tails)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise WireError("an account of another release. Bring both sides to one.") from None


def _amount(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not 0 <= number < math.inf:
        raise ValueError
    return number
