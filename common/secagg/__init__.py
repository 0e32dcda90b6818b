"""Secure aggregation: the coordinator learns the sum over a cohort of sites, and nothing about one of them.

After Bonawitz et al., CCS 2017 (double masking, consistency check against an active adversary), with a cohort pinned by
a signed roster, and keys exchanged once for all rounds of a key period. State machines without I/O and without a clock:
`participant.Participant` at a site; `KeyPeriodOpening` and `RoundOpening` at the coordinator. What must hold is said in
docs/threat-model.md.

    key_period_plan, fixedpoint      what a key period's rounds may ask, and which vectors answer
    key_period_messages, round_messages, message_fields, envelope
                                     bytes; strict
    key_schedule, shamir, masks      the cryptography (parallel: on several cores)
    stages                           all transitions
    participant, agreement_check, secret_sharing, state, pending_message, durable_participant
                                     the site's half, and what it must not forget
    directory, key_period, round     the coordinator's half (coordinator: what its two machines share)
    audit                            a round again, from its transcript
"""
