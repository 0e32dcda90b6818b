"""What was done, by whom, for which plan and data set: a log that only grows, whose past nobody changes unnoticed.

log ──> entries   one line each, no patient and no file name in it
  ├───> heads     signed: so many entries, and this root over them; who sees a head keeps it, and holds the log to it
  └───> tree      RFC 6962: roots, and proofs that a later log begins with an earlier one
shown ──> log     `audit show`, `verify`, `export`, the same at the site and at the coordinator
"""
