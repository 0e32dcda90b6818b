"""What both of the coordinator's machines do: a key period's opening (`key_period`) and a round (`round`).

Send `requests()`, hand every reply to `receive` as it comes, and call `close` when waiting is over: who has not
answered by then has dropped out. `receive` checks everything before anything changes.
"""

from collections.abc import Callable, Mapping, Sized

from common.errors import QuorumError, StageError
from common.secagg.directory import demand_quorum, sender_of
from common.secagg.envelope import FromSite
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.stages import COORDINATOR, CoordinatorStage, after
from common.trust.roster import Roster

Gathers = Mapping[str, tuple[Callable[[bytes | memoryview], str], Sized, str]]
"""For each event of the table: what takes its message, what was taken so far, and what those sites did."""


class CoordinatorMachine:
    """A coordinator's machine, at one of its stages."""

    def __init__(self, plan: KeyPeriodPlan, roster: Roster, stage: CoordinatorStage) -> None:
        self.plan, self.roster, self.stage = plan, roster, stage

    def requests(self) -> dict[str, bytes]:
        """What to send to whom now, by site."""
        raise NotImplementedError

    def receive(self, content: bytes | memoryview) -> str:
        """Take one site's message.

        Returns:
            Whose it is.

        Raises:
            WireError, StageError, IdentityError, ShareError: naming the site; nothing is changed then.
        """
        event = self._expected_event()
        following = after(COORDINATOR, self.stage, event)
        who = self._gathers()[event][0](content)
        self.stage = following
        return who

    def close(self) -> None:
        """Wait no longer for messages of this stage, and go on to the next.

        Raises:
            QuorumError: if too few have answered; the machine has failed then, and nothing was unmasked.
        """
        following = after(COORDINATOR, self.stage, "close")
        _, replies, did = self._gathers()[self._expected_event()]
        try:
            self._demand(len(replies), did)
        except QuorumError:
            self.stage = after(COORDINATOR, self.stage, "fail")
            raise
        self.stage = following

    def _expected_event(self) -> str:
        """The kind of message that the table has for this stage."""
        return next((event for event in self._gathers() if (self.stage, event) in COORDINATOR), "a message")

    def _gathers(self) -> Gathers:
        raise NotImplementedError

    def _demand(self, sites: int, did: str) -> None:
        demand_quorum(sites, self.plan, did)

    def _check(self, message: FromSite, context: bytes, senders: set[int], already: Mapping[int, object]) -> str:
        """Whose message it is, if it is of this round, signed, from one who was asked, and the first."""
        who, what = sender_of(message.sender, self.plan), type(message).__name__.lower()
        if message.context != context:
            raise StageError("other-round", f"{what} from {who} is of another round, key period or view.")
        message.verify(self.roster.active[who], who=who)
        if message.sender not in senders:
            raise StageError("not-asked", f"{what} from {who}, which has dropped out or does not take part.")
        if message.sender in already:
            raise StageError("duplicate-site", f"{what} from {who}, for the second time.")
        return who
