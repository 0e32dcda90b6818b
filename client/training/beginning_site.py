"""A site in the training of a network: the weights that it begins from may be next to those of an earlier training.

secagg/join     no training is begun over almost the sites or images of one that began next to it (`client.plans.near`)
secagg/agree    nor is its first sum, whoever is called silent in it; over whom it is stays on record
"""

from collections.abc import Iterable
from dataclasses import dataclass

from client.plans import near
from client.plans.inbox import PlanInbox
from client.training.auditing_site import AuditingSite
from client.training.protocol_message import MESSAGE, bytes_in
from common.messages.transport import Reply, Request
from common.plans.approvals import Approvals
from common.plans.plan import RunPlan
from common.secagg.round_messages import Survivors
from common.types import Tensors


@dataclass
class BeginningSite:
    """Stands before an auditing site."""

    auditing: AuditingSite
    inbox: PlanInbox
    plan: RunPlan

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Take one step of the protocol.

        Raises:
            PolicyError: for a sum that an earlier one would take apart; and all that `AuditingSite` raises.
        """
        secured = self.auditing.secured
        if request.kind == "secagg/join":
            approvals = secured.begin(request)
            self._refuse_near(approvals, approvals.sites)
        elif request.kind == "secagg/agree" and self.auditing.is_beginning():
            cohort = secured.keeper.participant.plan.cohort
            members = Survivors.decode(bytes_in(request, MESSAGE)).members
            sites = sorted(cohort[m] for m in members if m < len(cohort))
            with secured.ledger.lock():  # of two trainings at once, the second is held against what the first signs
                self._refuse_near(secured.binding.begun_approvals(), sites)
                near.note_beginning(self.inbox, self.plan, sites)
        return self.auditing.answer(request, state)

    def _refuse_near(self, approvals: Approvals, sites: Iterable[str]) -> None:
        over = {site: approvals.decisions[site].commitment.data for site in sites}
        near.refuse_beginning(self.inbox, self.plan, over)
