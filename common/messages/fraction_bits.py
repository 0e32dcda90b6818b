"""How finely numbers are rounded so that sums over all sites, each at its bound, fit into a word."""

import math

MOST_FRACTION_BITS = 40


def room(bits: int, sites: int) -> float:
    """The largest magnitude, in units of the last place, that so many sites can each add."""
    return 2.0 ** (bits - 1) / sites - 2.0


def fraction_bits(bound: float, bits: int, sites: int) -> int:
    """The most that leave room; 0 where there is no room at all, which the plan's own check then refuses."""
    return max(0, min(MOST_FRACTION_BITS, math.ceil(math.log2(room(bits, sites) / bound)) - 1))
