"""The roster: who belongs to the federation and what its rules are, signed by the consortium.

A site pins the consortium's root keys when it enrols, and from then on trusts no list of names but this one. All pinned
roots must have signed. Versions only rise; what has expired is refused; of one version there is one roster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import IdentityError, PolicyError
from common.trust.codec import MAGIC, ByteReader, ByteWriter
from common.trust.keys import KEY_BYTES, SIGNATURE_BYTES, digest, public_of, sign, verify

MIN_COHORT, MAX_SITES, MAX_ROOTS, MAX_PURPOSES = 3, 200, 8, 32
T = TypeVar("T")
_STATUSES: tuple[Literal["active", "suspended"], ...] = ("active", "suspended")


@dataclass(frozen=True)
class Member:
    """One hospital of the consortium, with its public key."""

    site: str
    key: bytes
    """Its Ed25519 public key."""
    status: Literal["active", "suspended"] = "active"


@dataclass(frozen=True)
class ConsortiumPolicy:
    """The consortium's rules, which every site enforces."""

    n_min: int
    """Fewer sites than this never make a sum; at least 3."""
    clip: float
    """The largest clip bound of a weighted segment."""
    weight_bound: float
    """The largest weight that one site may have in a sum."""
    purposes: tuple[str, ...]
    """What a run may be for."""


@dataclass(frozen=True)
class Pins:
    """What a site wrote down when it enrolled."""

    federation: str
    roots: tuple[bytes, ...]
    """Ed25519 public keys of the consortium; every one of them signs every roster."""
    changes: int = 0
    """How many changes of the roots led to these (`common.trust.root_change`)."""
    earlier: tuple[tuple[bytes, ...], ...] = ()
    """The roots before them, the latest first: what they signed is believed where it was kept, and never anew."""

    def load_kept(self, load: Callable[[bytes, "Pins"], T], file: bytes) -> T:
        """What this machine kept from a time when other roots were in force, or these.

        Args:
            load: reads and verifies a file under some pins.

        Raises:
            ConsiliumError: as `load` under the roots in force, if none of all these have signed it.
        """
        for roots in self.earlier:
            try:
                return load(file, Pins(self.federation, roots))
            except IdentityError:
                continue
        return load(file, self)


@dataclass(frozen=True)
class Roster:
    """A roster before it is signed, or after its signatures were checked (`load_verified_roster`)."""

    federation: str
    version: int
    expires_s: int
    """Seconds since 1970, UTC."""
    policy: ConsortiumPolicy
    members: tuple[Member, ...]
    """Sorted by name."""

    @cached_property
    def content(self) -> bytes:
        """The bytes that the roots sign."""
        w = ByteWriter().raw(MAGIC).u8(0).text(self.federation).u64(self.version).u64(self.expires_s)
        w.u16(self.policy.n_min).f64(self.policy.clip).f64(self.policy.weight_bound).u16(len(self.policy.purposes))
        for purpose in self.policy.purposes:
            w.text(purpose)
        w.u16(len(self.members))
        for m in self.members:
            w.text(m.site).raw(m.key).u8(_STATUSES.index(m.status))
        return w.bytes()

    @cached_property
    def digest(self) -> bytes:
        """What a plan names it by."""
        return digest("roster", self.content)

    @cached_property
    def active(self) -> dict[str, bytes]:
        """Public keys of the members that may take part, by name."""
        return {m.site: m.key for m in self.members if m.status == "active"}

    def sign(self, roots: Sequence[Ed25519PrivateKey]) -> bytes:
        """The roster's file, signed by these roots."""
        return roster_file(self.content, {public_of(root): sign(root, self.digest) for root in roots})


def roster_file(content: bytes, signatures: Mapping[bytes, bytes]) -> bytes:
    """The file of a roster: the bytes that the roots sign, and the signatures that it has."""
    w = ByteWriter().blob(content).u16(len(signatures))
    for root, signature in signatures.items():
        w.raw(root).raw(signature)
    return w.bytes()


def load_verified_roster(file: bytes, pins: Pins) -> Roster:
    """The roster of a signed file, if all pinned roots have signed it and it is well formed.

    Raises:
        WireError: if it is no roster.
        IdentityError: if a pinned root has not signed it.
        PolicyError: if it is another federation's, or its own rules are too weak.
    """
    reader = ByteReader(file, "roster")
    content = reader.blob(2**20)
    signatures = {
        reader.raw(KEY_BYTES): reader.raw(SIGNATURE_BYTES)
        for _ in range(reader.count(2 * MAX_ROOTS, KEY_BYTES + SIGNATURE_BYTES))  # while roots change: old and new
    }
    reader.end()
    roster = parse_roster(content)
    if not pins.roots:
        raise IdentityError("no-root", "no root key is pinned: enrol with the consortium's root keys first.")
    for root in pins.roots:
        verify(root, signatures.get(root, b""), roster.digest, who="the consortium's root", what="roster")
    if roster.federation != pins.federation:
        raise PolicyError("other-federation", f"a roster of '{roster.federation}', expected '{pins.federation}'.")
    if roster.policy.n_min < MIN_COHORT:
        raise PolicyError(
            "cohort-too-small", f"the roster allows sums over {roster.policy.n_min} sites, expected 3 at least."
        )
    return roster


def load_newer_roster(file: bytes, pins: Pins, before: Roster | None, now_s: float) -> Roster:
    """The roster of a signed file, if it is not expired, and no step back behind the one that was seen before.

    Raises:
        WireError, IdentityError, PolicyError: as `load_verified_roster`; an older roster, or another one of the same
            version, with which somebody could show two sites two different cohorts.
    """
    roster = load_verified_roster(file, pins)
    refuse_expired(roster, now_s)
    if before is not None and roster.version < before.version:
        raise PolicyError("rolled-back-roster", f"roster {roster.version}, and {before.version} has been seen before.")
    if before is not None and roster.version == before.version and roster != before:
        raise PolicyError("split-roster", f"two different rosters of version {roster.version}: tell the consortium.")
    return roster


def refuse_expired(roster: Roster, now_s: float) -> None:
    """Refuse a roster whose time is over.

    Raises:
        PolicyError: saying so.
    """
    if now_s >= roster.expires_s:
        raise PolicyError(
            "expired-roster",
            f"roster {roster.version} expired {(now_s - roster.expires_s) / 3600:.1f} h ago: ask the consortium for a "
            "new one, and check this machine's clock.",
        )


def parse_roster(content: bytes) -> Roster:
    """The roster in bytes that nobody may have signed.

    Raises:
        WireError, PolicyError: if it is not well formed.
    """
    r = ByteReader(content, "roster")
    if r.raw(len(MAGIC)) != MAGIC or r.u8() != 0:
        raise r.fault("does not begin as one of this version")
    federation, version, expires_s = r.text(), r.u64(), r.u64()
    n_min, clip, weight_bound = r.u16(), r.f64(), r.f64()
    purposes = tuple(r.text() for _ in range(r.count(MAX_PURPOSES, 3)))
    members = []
    for _ in range(r.count(10_000, 3 + KEY_BYTES + 1)):
        site, key, status = r.text(), r.raw(KEY_BYTES), r.u8()
        if status >= len(_STATUSES):
            raise r.fault(f"has a member of unknown status {status}")
        members.append(Member(site, key, _STATUSES[status]))
    r.end()
    if [m.site for m in members] != sorted({m.site for m in members}) or len({m.key for m in members}) != len(members):
        raise PolicyError("duplicate-site", "the roster lists a site or a key twice, or is not sorted by name.")
    return Roster(federation, version, expires_s, ConsortiumPolicy(n_min, clip, weight_bound, purposes), tuple(members))
