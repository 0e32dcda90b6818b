"""Custody: images lie encrypted at the hospital, and are decrypted into memory alone. docs/custody.md says how.

importer ──> intake ──> deidentify ──> confidentiality (table E.1-1), sound_values, pixels_anew, pseudonyms
    │           └──> burned_in, identity_words
    └──> dataset_writer ──> encrypted_dataset ──> dataset_index, packs, wrapped_keys (a set's keys), sealing (one AEAD)
                              ^                    key_ring (the site's keys, and how far each set had come)
encrypted_cases ──────────────┘
lifecycle     the keys of data sets through the years: rotated, recovered, destroyed
"""
