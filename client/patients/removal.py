"""Patients are taken out of the site's data sets.

In this order, and what a kill in between leaves:

    1  their keyed digests are written down: from now on an import leaves them out, and a second call knows them
    2  caches are cleared, while it is known which files of them are the data set's
    3  each data set is written again without them, under another key (`client.custody.rewriting`): before or after
    4  caches again, for what was put there meanwhile; what nobody clears, nobody opens any more

The same command again goes on: data sets of which it was done already are settled, and nothing else happens to them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.custody.dataset_version import dataset_version
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from client.custody.rewriting import rewrite
from client.patients import cache_traces
from client.patients.search import Match, People, objects_of


@dataclass(frozen=True)
class Removal:
    """What became of one data set."""

    name: str
    identity: str
    images: int
    version_before: str
    version: str
    cache_files: int

    def facts(self) -> dict[str, str | int]:
        """For the log and the receipt."""
        return {"images": self.images, "version before": self.version_before, "version": self.version}


def remove(
    custody: Custody,
    matches: Sequence[Match],
    people: People,
    caches: Sequence[Path],
    advance: Callable[[int], None] = lambda total: None,
) -> list[Removal]:
    """Take people out of data sets, for good; what became of each that has, or had, an image of theirs.

    Args:
        advance: called with the number of images of a data set that stay, each time that one is written again.

    Raises:
        RunError: another process writes to a data set; what was done before it stays done.
        CustodyError: no room to write one again, or it is not what was stored last.
    """
    for match in matches:
        match.withdrawals.add(match.sources())
    return [_one(custody, match, people, caches, advance) for match in matches]


def _one(
    custody: Custody, match: Match, people: People, caches: Sequence[Path], advance: Callable[[int], None]
) -> Removal:
    before = match.store
    version_before, count, files = dataset_version(before), len(match.numbers), 0
    if count:
        files += sum(cache_traces.clear(folder, before) for folder in caches)

    def choose(store: EncryptedDataset) -> set[int]:  # of the set as it is now: images may have come meanwhile
        return {number for numbers in objects_of(store, match.pseudonyms, people.kind).values() for number in numbers}

    after = rewrite(custody, before.folder, choose, advance)
    if count:
        files += sum(cache_traces.clear(folder, before) for folder in caches)
    images = len(before.index.objects) - len(after.index.objects)
    return Removal(before.name, before.wraps.set, images, version_before, dataset_version(after), files)
