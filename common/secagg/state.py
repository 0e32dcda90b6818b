"""What a site must not forget, and its bytes for the disk (to be `keys.seal_state` by whoever writes them).

Secrets of a round are dropped from the state as soon as the round is over or passed by.
"""

from dataclasses import dataclass, field

from common.secagg.key_period_messages import Advert
from common.secagg.key_period_plan import MAX_ROUNDS, RUN_BYTES
from common.secagg.message_fields import Members, read_members, write_members
from common.secagg.protocol import MAGIC
from common.secagg.shamir import SECRET_BYTES, SHARE_BYTES
from common.secagg.stages import ParticipantStage
from common.trust.codec import ByteReader, ByteWriter
from common.trust.keys import DIGEST_BYTES, KEY_BYTES
from common.trust.roster import MAX_SITES

_KIND = 255
_LIMIT = 2**31


@dataclass(frozen=True)
class KeyPeriodSecrets:
    """A site's own secrets of one key period."""

    dealer: bytes = field(default=b"", repr=False)
    """Channel key and sharing polynomials follow from it; empty once the peers' shares are opened."""
    rounds: dict[int, bytes] = field(default_factory=dict, repr=False)
    """By slot: mask-key seed and self-mask seed, 31 bytes each."""
    own_shares: dict[int, bytes] = field(default_factory=dict, repr=False)
    """By slot: the site's own shares of these two, 32 bytes each."""
    held_shares: dict[int, bytes] = field(default_factory=dict, repr=False)
    """By slot: the shares of all participants, in order: mask key, self mask, 32 bytes each."""

    def since(self, slot: int) -> "KeyPeriodSecrets":
        """Without the rounds before a slot."""
        parts = [
            {s: v for s, v in part.items() if s >= slot} for part in (self.rounds, self.own_shares, self.held_shares)
        ]
        return KeyPeriodSecrets(self.dealer, *parts)


@dataclass(frozen=True)
class ParticipantRound:
    """The round at hand, or the last one."""

    slot: int = 0
    kind: str = "-"
    question: bytes = bytes(DIGEST_BYTES)
    context: bytes = bytes(DIGEST_BYTES)
    root: bytes = bytes(DIGEST_BYTES)
    """The hash of the masked vector that was sent, by which the site knows it again."""
    survivors: Members = ()
    sum: bytes = bytes(DIGEST_BYTES)
    """The commitment to the survivors' sum that was signed."""


@dataclass(frozen=True)
class ParticipantState:
    """All that a participant must not forget: protocol stage, roster, key period, secrets, round at hand."""

    stage: ParticipantStage = ParticipantStage.IDLE
    roster: bytes = b""
    """The newest signed roster that was seen."""
    key_periods: dict[bytes, int] = field(default_factory=dict)
    """The newest key period of every run."""
    proposal: bytes = b""
    advert: bytes = b""
    """Hash of the site's own advert."""
    adverts: dict[int, Advert] = field(default_factory=dict)
    """Of the participants, by position in the cohort."""
    view: bytes = bytes(DIGEST_BYTES)
    secrets: KeyPeriodSecrets = field(default_factory=KeyPeriodSecrets, repr=False)
    next_slot: int = 0
    """Rounds before this one are answered or passed by for good."""
    round: ParticipantRound = field(default_factory=ParticipantRound)

    def encode(self) -> bytes:
        """The state as bytes, secrets in the clear: seal them before they touch a disk."""
        w = (
            ByteWriter()
            .raw(MAGIC)
            .u8(_KIND)
            .u8(list(ParticipantStage).index(self.stage))
            .blob(self.roster)
            .u32(len(self.key_periods))
        )
        for run, key_period in self.key_periods.items():
            w.raw(run).u64(key_period)
        w.blob(self.proposal).blob(self.advert).u16(len(self.adverts))
        for advert in self.adverts.values():
            w.blob(advert.encode())
        w.raw(self.view).blob(self.secrets.dealer)
        for part in (self.secrets.rounds, self.secrets.own_shares, self.secrets.held_shares):
            w.u16(len(part))
            for slot, value in part.items():
                w.u16(slot).blob(value)
        r = self.round
        w.u16(self.next_slot).u16(r.slot).text(r.kind).raw(r.question).raw(r.context).raw(r.root)
        return write_members(w, r.survivors).raw(r.sum).bytes()

    @classmethod
    def decode(cls, content: bytes) -> "ParticipantState":
        """A state from the bytes that `encode` made.

        Raises:
            WireError: if they are no state of this version.
        """
        r = ByteReader(content, "state")
        if r.raw(len(MAGIC)) != MAGIC or r.u8() != _KIND or (stage := r.u8()) >= len(ParticipantStage):
            raise r.fault("is of another version")
        roster = r.blob(_LIMIT)
        key_periods = {r.raw(RUN_BYTES): r.u64() for _ in range(_many(r, RUN_BYTES + 8))}
        proposal, advert = r.blob(_LIMIT), r.blob(DIGEST_BYTES)
        adverts = [Advert.decode(r.blob(_LIMIT)) for _ in range(r.count(MAX_SITES, 4))]
        view, dealer = r.raw(DIGEST_BYTES), r.blob(KEY_BYTES)
        rounds, own_shares, held_shares = (
            {r.u16(): r.blob(size) for _ in range(r.count(MAX_ROUNDS, 6))}
            for size in (2 * SECRET_BYTES, 2 * SHARE_BYTES, 2 * SHARE_BYTES * MAX_SITES)
        )
        next_slot = r.u16()
        slot, kind, question, context, root = r.u16(), r.text(), *(r.raw(DIGEST_BYTES) for _ in range(3))
        at_hand = ParticipantRound(slot, kind, question, context, root, read_members(r), r.raw(DIGEST_BYTES))
        r.end()
        return cls(
            list(ParticipantStage)[stage], roster, key_periods, proposal, advert,
            {a.sender: a for a in adverts}, view,
            KeyPeriodSecrets(dealer, rounds, own_shares, held_shares), next_slot, at_hand,
        )  # fmt: skip


def _many(r: ByteReader, size: int) -> int:
    number = r.u32()
    if number * size > r.remaining():
        raise r.fault(f"declares {number} items, more than present")
    return number
