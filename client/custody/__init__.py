"""Custody: images lie encrypted at the hospital, and are decrypted into memory alone. docs/custody.md says how.

importer ──> intake ──> deidentify ──> confidentiality (table E.1-1), pseudonyms, burned_in
    └──> writer ──> store ──> index, packs, wraps (a set's keys), envelope (one AEAD), disk
                      ^          keys (the site's keys, and what it has seen)
table ────────────────┘
"""
