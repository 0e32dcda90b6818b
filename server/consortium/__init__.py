"""The coordinator's folder, who belongs to the consortium, its TLS authority, and proofs of its log."""
