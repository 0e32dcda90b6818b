"""A small federation for the tests: a consortium, its hospitals, a coordinator, and every message between them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.secagg.envelope import sender_in
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period import KeyPeriod, KeyPeriodOpening
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind, propose
from common.secagg.participant import Participant
from common.secagg.pending_message import PendingMessage
from common.secagg.round import RoundOpening, UnmaskedSum
from common.secagg.state import ParticipantState
from common.secagg.transcript import frame
from common.trust.keys import public_of
from common.trust.roster import ConsortiumPolicy, Member, Pins, Roster

NOW_S = 1_800_000_000
QUESTION = hashlib.sha256(b"the global model").digest()


def stream(seed: str) -> Callable[[int], bytes]:
    """Known bytes in the place of random ones."""
    cipher = Cipher(algorithms.AES(hashlib.sha256(seed.encode()).digest()), modes.CTR(bytes(16))).encryptor()
    return lambda n: cipher.update(bytes(n))


def identity(name: str) -> Ed25519PrivateKey:
    """A site's key, the same every time."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"identity " + name.encode()).digest())


ROOT = identity("the consortium")


def forget(_: ParticipantState) -> None:
    """Records nothing: for tests that do not restart."""


def plain(length: int, bits: Any = 32) -> Layout:
    """A vector of whole numbers without clipping."""
    return Layout((Segment("x", (length,), 1000.0, 0),), bits)


@dataclass
class World:
    """Sites by name, one coordinator, and what was recorded and sent."""

    sites: dict[str, Participant]
    roster: Roster
    plan: KeyPeriodPlan
    key_period: KeyPeriod | None = None
    transcript: list[bytes] = field(default_factory=list)
    sent: dict[str, bytes] = field(default_factory=dict)
    """By site, the masked vector that it sent last."""

    @classmethod
    def of(
        cls,
        n: int,
        layout: Layout | None = None,
        *,
        rounds: int = 1,
        exchanges: dict[str, QuestionKind] | None = None,
        seed: str | None = None,
        n_min: int = 3,
        **changes: Any,
    ) -> "World":
        """A federation of n sites with a plan for one key period."""
        names = [f"site-{i:03d}" for i in range(n)]
        members = tuple(Member(name, public_of(identity(name))) for name in names)
        policy = ConsortiumPolicy(n_min, 10.0, 1e6, ("training",))
        roster = Roster("testers", 1, NOW_S + 86_400, policy, members)
        pins = Pins("testers", (public_of(ROOT),))
        asked = {"run": b"the run's number", "number": 0, "config": bytes(32), "purpose": "training", "cohort": names}
        kinds = exchanges or {"train": QuestionKind(layout or plain(4))}
        plan = propose(roster, **{**asked, **changes}, rounds=rounds, exchanges=kinds)
        sites = {
            name: Participant(name, identity(name), pins, random=stream(f"{seed} {name}") if seed else os.urandom)
            for name in names
        }
        return cls(sites, roster, plan)

    @property
    def pins(self) -> Pins:
        """What the sites pinned."""
        return next(iter(self.sites.values())).pins

    @property
    def signed_roster(self) -> bytes:
        """The roster's file."""
        return self.roster.sign([ROOT])

    def send(self, name: str, step: Callable[[Participant], PendingMessage]) -> bytes:
        """Let one site take a step, and record it."""
        self.sites[name], message = step(self.sites[name]).commit(forget)
        return message

    def open_key_period(
        self, *, no_advert: Iterable[str] = (), no_shares: Iterable[str] = (), not_ready: Iterable[str] = ()
    ) -> KeyPeriod:
        """Adverts, shares, readies; some sites may be silent from a stage on."""
        opening = KeyPeriodOpening(self.plan, self.roster)
        silent: set[str] = set()
        steps = (("join", no_advert), ("share", no_shares), ("take", not_ready))
        for step, falling_silent in steps:
            silent |= set(falling_silent)
            for name, request in opening.requests().items():
                if name not in silent:
                    extra = (self.signed_roster, NOW_S) if step == "join" else ()
                    opening.receive(self.send(name, lambda s, m=request, e=extra, do=step: getattr(s, do)(m, *e)))
            opening.close()
        self.key_period = opening.key_period()
        return self.key_period

    def round(
        self,
        vectors: dict[str, np.ndarray],
        *,
        slot: int = 0,
        kind: str = "train",
        question: bytes = QUESTION,
        no_vector: Iterable[str] = (),
        no_agreement: Iterable[str] = (),
        no_release: Iterable[str] = (),
    ) -> UnmaskedSum:
        """One round; some sites may be silent from a stage on. The vectors stay as they are."""
        key_period = self.key_period
        assert key_period is not None
        opening = RoundOpening(key_period, slot, kind, question)
        silent: set[str] = set()
        spool: dict[int, bytes] = {}
        for step, falling_silent in (("submit", no_vector), ("agree", no_agreement), ("release", no_release)):
            silent |= set(falling_silent)
            for name, request in opening.requests().items():
                if name in silent:
                    continue
                if step == "submit":
                    self.sites[name] = self.sites[name].open(request, question, NOW_S)
                    answer = self.submit(name, vectors[name])
                    spool[sender_in(answer)] = bytes(answer)
                elif step == "agree":
                    answer = self.agree(name, request)
                else:
                    answer = self.send(name, lambda s, m=request: s.release(m))
                opening.receive(answer)
            opening.close()
        opening.check_sketches(spool.__getitem__)
        total = opening.total()
        self.transcript = list(opening.transcript(self.signed_roster, spool.__getitem__))
        return total

    def submit(self, name: str, vector: np.ndarray) -> bytes:
        """Let one site send a vector, and keep what it sent; the vector stays as it is."""
        words = vector.copy()
        message = self.send(name, lambda s: s.submit(words))
        self.sent[name] = words.tobytes()
        return message

    def agree(self, name: str, survivors: bytes) -> bytes:
        """Let one site sign the survivors."""
        return self.send(name, lambda s: s.agree(survivors, self.sent[name]))

    def vectors(self, kind: str = "train", seed: int = 0) -> dict[str, np.ndarray]:
        """Random words for every site, over all that its layout allows."""
        layout = self.plan.question_kinds[kind].layout
        draw = np.random.default_rng(seed)
        return {name: np.concatenate([_words(draw, layout, s) for s in layout.segments]) for name in self.sites}

    def framed_transcript(self) -> bytes:
        """The last round's transcript as a file."""
        return b"".join(map(frame, self.transcript))

    def with_roster(self, **changes: Any) -> "World":
        """The same with another roster, and a plan that names it."""
        roster = replace(self.roster, **changes)
        return replace(self, roster=roster, plan=replace(self.plan, roster=roster.digest))


def _words(draw: np.random.Generator, layout: Layout, segment: Segment) -> np.ndarray:
    most = int(segment.bound * (layout.weight_bound if segment.weighted else 1.0) * 2.0**segment.fraction_bits)
    return draw.integers(-most, most + 1, segment.size).astype(f"<i{layout.bits // 8}").view(layout.dtype)


def expected(vectors: dict[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
    """The sum, word by word, with Python's own integers mod 2**k."""
    chosen = [vectors[name] for name in names]
    modulus = 2 ** (8 * chosen[0].itemsize)
    return np.array([sum(map(int, column)) % modulus for column in zip(*chosen, strict=True)], chosen[0].dtype)
