"""What was done, by whom, for which plan and data set: a log that only grows, whose past nobody changes unnoticed.

log ──> entries        one line each, no patient and no file name in it
  ├───> heads          signed: so many entries, and this root over them; who sees one holds the log to it
  ├───> merkle_tree    RFC 6962: roots, and proofs that a later log begins with an earlier one
  └───> log_files      what lies on disk
log_view ──> log       `audit show`, `verify`, `export`, the same at the site and at the coordinator
log_copy               an exported copy, verified anywhere
witness_statement      a site's signature under a head of the coordinator's log
acts                   which commands are written into the log
"""
