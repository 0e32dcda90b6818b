"""What a hospital's patients have paid, and how it says no: an answer under a budget is written down before it leaves.

ledger ──> patient_sets        the account: every answer that was paid for, over which patients; read this first
site_account                   what an answer may cost here, by the plan and by the hospital's own rule; pays for it
reopening                      a site that was restored asks those who saw its account what it had signed
commands ──> account_summary   `python -m client privacy`
"""
