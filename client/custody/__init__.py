"""Custody: images lie encrypted at the hospital, and are decrypted into memory alone. docs/custody.md says how.

importer ──> intake ──> deidentify ──> confidentiality (table E.1-1), options, pseudonyms; burned_in
    └──> dataset_writer ──> encrypted_dataset ──> dataset_index, packs, disk
encrypted_cases ────────────────┘        └──────> wrapped_keys (of one data set), sealing (one AEAD)

key_ring          the site's own keys, and what it has seen
lifecycle         the keys through the years: rotate, recover, destroy, adopt
import_workers    files are read and cleaned in processes of their own
events            what came of an action, for whoever keeps account
commands          `python -m client import` and `custody`
"""
