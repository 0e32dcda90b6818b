"""Who may do what at a site: people with keys of their own, roles, one table, and a policy that two people sign.

gate ──> policy_store ──> policy    versions, each signed by data officers of the one before; the log knows the newest
  ├────> people                     a person is a name in the policy, and whoever has the private half of its key
  └────> permissions                every command, and the roles that may give it
commands ──> policy_change, policy_view     `python -m client access`
signed_entries                      the entries of the log that a person signed, verified again
"""
