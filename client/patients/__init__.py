"""A patient withdraws, or a label was wrong. *Read `removal` first*: what goes, in which order, and what a kill leaves.

People are named by the hospital's own numbers, which stay on the machine on which they are typed: not on a command
line, which shells and process lists keep, not in the log, and not in the site's folder, which is backed up.
"""
