"""Secure aggregation: the coordinator learns the sum over a cohort of sites, and nothing about one of them.

After Bonawitz et al., CCS 2017 (double masking, consistency check against an active adversary), with a cohort pinned by
a signed roster, and keys for many rounds exchanged once an epoch. Two state machines without I/O and without a clock:
`participant.Participant`, and the coordinator's `KeyPeriodOpening` and `RoundOpening`. What must hold is said in
docs/threat-model.md.

    roster, plan, fixedpoint      who may take part, in what, with which vectors
    messages, envelope, codec     bytes; strict
    keys, schedule, shamir, masks the cryptography (cores: on several of them)
    stages                        all transitions
    site, dealing, state, keeper  the site's half, and what it must not forget
    directory, epoch, round       the coordinator's half (machine: what its two machines share)
    audit                         a round again, from its transcript
"""

from common.secagg.audit import audit
from common.secagg.durable_participant import DurableParticipant
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period import KeyPeriod, KeyPeriodOpening
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind, propose
from common.secagg.participant import Participant, PendingMessage
from common.secagg.round import RoundOpening, SecureSum
from common.secagg.state import ParticipantState

__all__ = [
    "DurableParticipant",
    "KeyPeriod",
    "KeyPeriodOpening",
    "KeyPeriodPlan",
    "Layout",
    "Participant",
    "ParticipantState",
    "PendingMessage",
    "QuestionKind",
    "RoundOpening",
    "SecureSum",
    "Segment",
    "audit",
    "propose",
]
