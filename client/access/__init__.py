"""Who may do what at a site: people with keys, roles, one table, a policy that two people sign, and a door.

gate ──> policy_store ──> policy    versions, each signed by data officers of the one before; the log knows the newest
  ├────> people                     a person is a name in the policy, and whoever has the private half of its key
  ├────> command_request            what a person signs to give a command
  └────> permissions                every command, and the roles that may give it
command_guard ──> gate              every command of a folder of one's own, behind the gate
  └────> door ──> loan_desk         the person's process: signs, opens and writes what the command names (named_files)
doorkeeper ──> worker_process       the resident process: who comes, and what carries their command out
door_worker                         the worker's side of the channel to the person's process
door_messages, handed_file          what goes through the door
commands ──> policy_change, policy_view     `python -m client access`
signed_entries                      the entries of the log that a person signed, verified again
"""
