"""The coordinator opens a key period: it carries adverts and sealed shares between sites, and can open none of them."""

from dataclasses import dataclass

from common.errors import ShareError, StageError
from common.secagg.coordinator import CoordinatorMachine, Gathers
from common.secagg.directory import checked_advert, view_of
from common.secagg.key_period_messages import Advert, Delivery, Directory, Ready, Shares
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.stages import CoordinatorStage
from common.trust.roster import Roster


@dataclass(frozen=True)
class KeyPeriod:
    """What a key period's rounds need."""

    plan: KeyPeriodPlan
    roster: Roster
    adverts: dict[int, Advert]
    """Of the participants, by position in the cohort, rising."""
    ready: frozenset[int]
    """Participants that have opened their shares; the others are away for the whole key period."""

    @property
    def view(self) -> bytes:
        """What the rounds are bound to."""
        return view_of(self.adverts, self.plan)

    @classmethod
    def of(cls, plan: KeyPeriodPlan, roster: Roster, adverts: list[bytes]) -> "KeyPeriod":
        """A key period from its participants' adverts, as an auditor sees it."""
        verified_adverts = [checked_advert(advert, plan, roster) for advert in adverts]
        return cls(plan, roster, {a.sender: a for a in verified_adverts}, frozenset(a.sender for a in verified_adverts))


class KeyPeriodOpening(CoordinatorMachine):
    """The beginning of a key period: adverts, shares, readies."""

    def __init__(self, plan: KeyPeriodPlan, roster: Roster) -> None:
        super().__init__(plan, roster, CoordinatorStage.ADVERTS)
        self._adverts: dict[int, Advert] = {}
        self._contents: dict[int, bytes] = {}
        self._shares: dict[int, dict[int, bytes]] = {}
        self._ready: dict[int, Ready] = {}

    def requests(self) -> dict[str, bytes]:
        """What to send to whom now, by site."""
        cohort = self.plan.cohort
        if self.stage is CoordinatorStage.ADVERTS:
            return dict.fromkeys(cohort, self.plan.content)
        if self.stage is CoordinatorStage.SHARES:
            directory = Directory(tuple(content for _, content in sorted(self._contents.items()))).encode()
            return {cohort[peer]: directory for peer in sorted(self._contents)}
        if self.stage is CoordinatorStage.READIES:
            return {cohort[peer]: self._delivery(peer).encode() for peer in sorted(self._shares)}
        return {}

    def key_period(self) -> KeyPeriod:
        """The key period, once all three are closed."""
        if self.stage is not CoordinatorStage.KEY_PERIOD:
            raise StageError("out-of-order", f"the key period is not open yet, but at {self.stage.value}.")
        adverts = {peer: self._adverts[peer] for peer in sorted(self._shares)}
        return KeyPeriod(self.plan, self.roster, adverts, frozenset(self._ready))

    def _gathers(self) -> Gathers:
        return {
            "advert": (self._advert, self._adverts, "published keys"),
            "shares": (self._share, self._shares, "shared their secrets"),
            "ready": (self._readiness, self._ready, "opened their shares"),
        }

    def _advert(self, content: bytes | memoryview) -> str:
        advert = checked_advert(content, self.plan, self.roster)
        who = self._check(advert, self.plan.context, set(range(len(self.plan.cohort))), self._adverts)
        self._adverts[advert.sender], self._contents[advert.sender] = advert, bytes(content)
        return who

    def _share(self, content: bytes | memoryview) -> str:
        message = Shares.decode(content)
        who = self._check(message, self.plan.context, set(self._adverts), self._shares)
        if {peer for peer, _ in message.boxes} != set(self._adverts) - {message.sender}:
            raise ShareError("bad-share", f"{who} did not send one share for each of its peers.")
        self._shares[message.sender] = dict(message.boxes)
        return who

    def _readiness(self, content: bytes | memoryview) -> str:
        message = Ready.decode(content)
        view = view_of({peer: self._adverts[peer] for peer in sorted(self._shares)}, self.plan)
        who = self._check(message, view, set(self._shares), self._ready)
        self._ready[message.sender] = message
        return who

    def _delivery(self, receiver: int) -> Delivery:
        peers = (peer for peer in sorted(self._shares) if peer != receiver)
        return Delivery(tuple((peer, self._shares[peer][receiver]) for peer in peers))
