"""The plan of a key period, and the hashes that bind everything to it.

    period_ctx = H(the proposal: federation, run, number, roster, configuration, cohort, t, n_min, rounds, layouts)
    view       = H(period_ctx, the adverts of all that take part)
    round_ctx  = H(view, round, kind, question)

Every signature, every derived key and every sealed share includes the one that applies. `question` is the hash of what
is asked in the round: the global model with all settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from common.errors import PolicyError
from common.secagg.fixedpoint import Layout
from common.secagg.protocol import MAGIC, digest
from common.trust.codec import ByteReader, ByteWriter
from common.trust.keys import DIGEST_BYTES
from common.trust.roster import MAX_SITES, MIN_COHORT, Roster

RUN_BYTES, MAX_ROUNDS, MAX_EXCHANGES = 16, 1024, 64
_KIND = 1


@dataclass(frozen=True)
class QuestionKind:
    """One kind of question that a round of the key period may ask."""

    layout: Layout
    whole: bool = False
    """The sum is of use only over the whole cohort: with a dropout nothing is unmasked, so asking again is safe."""


@dataclass(frozen=True)
class KeyPeriodPlan:
    """What the coordinator proposes for a key period, and every site checks."""

    federation: str
    run: bytes
    """16 bytes, random, one for a run."""
    number: int
    """Rises within a run."""
    roster: bytes
    """The roster's hash."""
    config: bytes
    """The hash of the run's configuration."""
    purpose: str
    cohort: tuple[str, ...]
    """Names of the sites, sorted."""
    threshold: int
    n_min: int
    rounds: int
    """For how many rounds keys are made."""
    question_kinds: dict[str, QuestionKind]
    """By kind, sorted."""

    @cached_property
    def content(self) -> bytes:
        """The proposal as bytes."""
        w = ByteWriter().raw(MAGIC).u8(_KIND).text(self.federation).raw(self.run).u64(self.number)
        w.raw(self.roster).raw(self.config).text(self.purpose).u16(len(self.cohort))
        for site in self.cohort:
            w.text(site)
        w.u16(self.threshold).u16(self.n_min).u16(self.rounds).u16(len(self.question_kinds))
        for kind, exchange in self.question_kinds.items():
            exchange.layout.write(w.text(kind).u8(exchange.whole))
        return w.bytes()

    @cached_property
    def context(self) -> bytes:
        """period_ctx: stands for the whole proposal; sites that were shown different ones share no key."""
        return digest("epoch", self.content)

    @property
    def quorum(self) -> int:
        """The smallest set of sites whose sum is ever unmasked."""
        return max(self.threshold, self.n_min)

    @classmethod
    def read(cls, content: bytes) -> "KeyPeriodPlan":
        """From bytes; well formed, but not yet checked.

        Raises:
            WireError: if they are no proposal.
        """
        r = ByteReader(content, "proposal")
        if r.raw(len(MAGIC)) != MAGIC or r.u8() != _KIND:
            raise r.fault("does not begin as one of this version")
        federation, run, number = r.text(), r.raw(RUN_BYTES), r.u64()
        roster, config, purpose = r.raw(DIGEST_BYTES), r.raw(DIGEST_BYTES), r.text()
        cohort = tuple(r.text() for _ in range(r.count(MAX_SITES, 3)))
        threshold, n_min, rounds = r.u16(), r.u16(), r.u16()
        exchanges: dict[str, QuestionKind] = {}
        for _ in range(r.count(MAX_EXCHANGES, 15)):
            kind, whole = r.text(), r.u8()
            if whole > 1 or (exchanges and kind <= max(exchanges)):
                raise r.fault("has kinds of rounds out of order, or a flag that is neither 0 nor 1")
            exchanges[kind] = QuestionKind(Layout.read(r), bool(whole))
        r.end()
        return cls(
            federation, run, number, roster, config, purpose, cohort, threshold, n_min, rounds, exchanges
        )  # fmt: skip


def threshold(sites: int) -> int:
    """How many must agree on the survivors, and how many shares rebuild a secret: more than two thirds."""
    # Any two sets of t sites share more than n/3 of them. A coordinator that shows two sets of survivors, to get both
    # shares of one site, needs t signatures under each: more than n/3 sites would have to sign both, and an honest site
    # signs one a round. So up to n/3 sites may lie for it, and still it gets the self mask or the mask key, never both.
    return 2 * sites // 3 + 1


def colluders(sites: int) -> int:
    """The most sites of a plan that may lie: fewer than a third."""
    return -(-sites // 3) - 1


def least_apart(sites: int) -> int:
    """By how many sites two sums must differ, so that beside all that may lie, of so many, two honest ones do."""
    return max(MIN_COHORT, colluders(sites) + 2)


def least_draw(sites: int) -> int:
    """Of so many sites of a plan, how many a round must ask at least: three honest ones beside all that may lie."""
    return min(sites, colluders(sites) + MIN_COHORT)


def propose(
    roster: Roster, *, run: bytes, number: int, config: bytes, purpose: str, cohort: Sequence[str], rounds: int,
    exchanges: dict[str, QuestionKind],
) -> KeyPeriodPlan:  # fmt: skip
    """The plan that the rules leave for a cohort that is everybody, checked.

    Raises:
        PolicyError: as `check`.
    """
    names = tuple(sorted(cohort))
    plan = KeyPeriodPlan(
        roster.federation, run, number, roster.digest, config, purpose, names, threshold(len(names)),
        roster.policy.n_min, rounds, dict(sorted(exchanges.items())),
    )  # fmt: skip
    check(plan, roster)
    return plan


def check(plan: KeyPeriodPlan, roster: Roster) -> None:
    """Hold a plan against the roster.

    Raises:
        PolicyError: naming the rule, what the plan says, and what was expected.
    """
    n = len(plan.cohort)
    if plan.federation != roster.federation:
        raise PolicyError("other-federation", f"a plan of '{plan.federation}', expected '{roster.federation}'.")
    if plan.roster != roster.digest:
        raise PolicyError(
            "other-roster", f"the plan is for another roster than version {roster.version}, which is current."
        )
    if list(plan.cohort) != sorted(set(plan.cohort)):
        raise PolicyError("duplicate-site", "the cohort lists a site twice, or is not sorted.")
    if strangers := [site for site in plan.cohort if site not in roster.active]:
        raise PolicyError("unknown-site", f"the cohort has {', '.join(strangers)}: not an active member of the roster.")
    if plan.n_min != roster.policy.n_min or n < max(plan.n_min, MIN_COHORT):
        raise PolicyError(
            "cohort-too-small",
            f"a cohort of {n} with n_min {plan.n_min}; the roster demands {roster.policy.n_min} sites at least.",
        )
    if not threshold(n) <= plan.threshold <= n:
        raise PolicyError(
            "wrong-threshold", f"threshold {plan.threshold} for {n} sites, expected {threshold(n)} to {n}."
        )
    if plan.purpose not in roster.policy.purposes:
        raise PolicyError(
            "purpose", f"purpose '{plan.purpose}', the roster allows {', '.join(roster.policy.purposes) or 'none'}."
        )
    if not 1 <= plan.rounds <= MAX_ROUNDS or not plan.question_kinds:
        raise PolicyError(
            "bad-plan", f"{plan.rounds} rounds of {len(plan.question_kinds)} kinds: expected 1 to {MAX_ROUNDS}."
        )
    for kind, exchange in plan.question_kinds.items():
        _check_bounds(kind, exchange.layout, roster)
        exchange.layout.check(n)


def round_context(view: bytes, slot: int, kind: str, question: bytes) -> bytes:
    """round_ctx: stands for one question to one set of participants; every mask of the round is derived from it."""
    return digest("round", view, slot.to_bytes(2, "little"), kind.encode(), question)


def _check_bounds(kind: str, layout: Layout, roster: Roster) -> None:
    if not 0 < layout.weight_bound <= roster.policy.weight_bound:
        raise PolicyError(
            "bounds",
            f"'{kind}' has weights up to {layout.weight_bound:g}, the roster allows {roster.policy.weight_bound:g}.",
        )
    for segment in layout.segments:
        if segment.weighted and not segment.bound <= roster.policy.clip:
            raise PolicyError(
                "bounds",
                f"'{kind}' clips '{segment.name}' at {segment.bound:g}, the roster allows {roster.policy.clip:g}.",
            )
