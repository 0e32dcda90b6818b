"""Which of a network's arrays stay at each hospital (`federation.local.private`): norms, the head, or both.

FedBN (Li et al., ICLR 2021) keeps the normalisation of each site its own, since scanners differ; FedPer (Arivazhagan et
al., 2019) the last layer, since prevalence and case mix do. What is private is trained at the site, kept in its state,
and in no sum; who has none of its own goes by the values that the seed gives.
"""

import re
from collections.abc import Iterable, Sequence

KINDS = {"norm": re.compile(r"(^|_)norm\d*/"), "head": re.compile(r"^logits/")}
"""By kind, what the name of its arrays holds: the layers' names are those of `common.models.architectures`."""

PRIVATE, PRIVATE_MOMENTS = "private", "private-moments"
"""In a site's state: these arrays, and Adam's moments of them."""


def private_names(names: Iterable[str], kinds: Sequence[str]) -> frozenset[str]:
    """Those of a network's arrays that stay at each hospital."""
    return frozenset(name for name in names if any(KINDS[kind].search(name) for kind in kinds))
