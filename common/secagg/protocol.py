"""The protocol's number, which stands in every message, hash and derived key: two versions never understand each other.

Rosters, plans, papers and sealed folders have a number of their own, in `common.trust`; what those of an older version
signed or sealed stays readable.
"""

from functools import partial

from common.trust import keys

MAGIC = b"CSA2"
"""Every message begins with it and one byte for its kind."""
PREFIX = "consilium/secagg/2/"

digest = partial(keys.digest, prefix=PREFIX)
"""`keys.digest` under this protocol's number."""
derive = partial(keys.derive, prefix=PREFIX)
"""`keys.derive` under this protocol's number."""
