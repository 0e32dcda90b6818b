"""The consortium's roots change: a new list, signed by all of the old and all of the new, in force some days later.

Changes are numbered, and a site follows them one after the other from the roots that it pinned: one that was away for
all of it finds the whole chain at the gateway. Nothing else moves a pin.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from common.errors import WireError
from common.trust.documents import SignedDocument, fingerprint, read_document, sign_document
from common.trust.keys import KEY_BYTES
from common.trust.roster import MAX_ROOTS, Pins

NOTICE_S = 7 * 86_400.0
"""So long people have to notice a change before it is in force."""


@dataclass(frozen=True)
class RootChange:
    """One change of the roots."""

    number: int
    """1 for the first change of a consortium."""
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    in_force_s: float
    """Seconds since 1970, UTC."""
    document: SignedDocument

    @classmethod
    def draw_up(cls, pins: Pins, new: tuple[bytes, ...], now_s: float) -> Self:
        """What the old and the new roots sign; nobody has yet."""
        content = {"consortium": pins.federation, "number": pins.changes + 1, "made_s": now_s}
        content |= {"in_force_s": now_s + NOTICE_S, "old": [r.hex() for r in pins.roots], "new": [r.hex() for r in new]}
        return cls._of(sign_document("roots", content, ()))

    @classmethod
    def load_verified(cls, file: bytes, federation: str) -> Self:
        """A change that all of the old and all of the new roots have signed.

        Raises:
            WireError: it is none, or another consortium's.
            IdentityError: one of them has not signed it.
        """
        change = cls._of(read_document(file, "roots"))
        change.document.verify([*change.old, *change.new], "a root, old or new")
        if change.document.content["consortium"] != federation:
            raise WireError(f"a change of other roots than those of '{federation}'. Ask the coordinator.")
        return change

    @property
    def signers(self) -> tuple[bytes, ...]:
        """All of the old, and those of the new that are not among them."""
        return (*self.old, *(root for root in self.new if root not in self.old))

    @property
    def words(self) -> tuple[str, str]:
        """The old roots' fingerprint and the new ones', as a hospital compares them."""
        consortium = str(self.document.content["consortium"]).encode()
        return fingerprint(consortium, *self.old), fingerprint(consortium, *self.new)

    @classmethod
    def _of(cls, document: SignedDocument) -> Self:
        try:
            content = document.content
            old, new = (tuple(bytes.fromhex(root) for root in content[name]) for name in ("old", "new"))
            made_s, in_force_s, number = float(content["made_s"]), float(content["in_force_s"]), int(content["number"])
            for roots in (old, new):
                if not 0 < len(set(roots)) == len(roots) <= MAX_ROOTS or any(len(root) != KEY_BYTES for root in roots):
                    raise ValueError
            if set(old) == set(new) or in_force_s < made_s + NOTICE_S or number < 1:
                raise ValueError
            return cls(number, old, new, in_force_s, document)
        except (KeyError, TypeError, ValueError):
            raise WireError("a change of roots that is none, or of another release. Ask the coordinator.") from None


def follow(pins: Pins, changes: Iterable[RootChange], now_s: float) -> Pins:
    """The roots that are in force now, by the changes that lead on from those that were pinned."""
    for change in sorted(changes, key=lambda change: change.number):
        if change.number == pins.changes + 1 and change.old == pins.roots and change.in_force_s <= now_s:
            pins = replace(pins, roots=change.new, changes=change.number, earlier=(pins.roots, *pins.earlier))
    return pins


def next_change(pins: Pins, changes: Iterable[RootChange]) -> RootChange | None:
    """The change that leads on from the roots in force, and is not in force yet itself; None: there is none."""
    return next((c for c in changes if c.number == pins.changes + 1 and c.old == pins.roots), None)
