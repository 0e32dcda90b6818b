"""Which runs may begin beside those that go on: the oldest first, and at no site more than it takes at once.

A run that waits for people or for a site that is away takes no place: it never keeps another from beginning. One that
waits for its turn has a place kept at each of its sites, so that no newer one overtakes it for ever.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from server.runs.site_reports import RUNS_AT_ONCE


class Turns:
    """The places of all sites, taken one run after the other.

    Args:
        active: the sites of every run that goes on, and is not waiting for one that is away.
        limits: how many runs a site takes at once.
    """

    def __init__(self, active: Iterable[Collection[str]], limits: Mapping[str, int]) -> None:
        self._taken = Counter(site for sites in active for site in sites)
        self._limits = limits

    def take(self, sites: Collection[str]) -> tuple[str, ...]:
        """Take a place at each site; returns the sites at which there is none left: then it is not this run's turn."""
        full = tuple(site for site in sorted(sites) if self._taken[site] >= self._limits.get(site, RUNS_AT_ONCE))
        self._taken.update(sites)
        return full


def shares(active: Mapping[str, Collection[str]]) -> dict[str, int]:
    """How many runs the busiest site of each run answers at once, by the run's name: so much longer an answer takes."""
    busy = Counter(site for sites in active.values() for site in sites)
    return {name: max((busy[site] for site in sites), default=1) for name, sites in active.items()}
