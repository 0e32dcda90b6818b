"""A data set written again without some of its objects, under another data key: what was in it opens no more.

Taking a name out of the index would leave the image in its pack, in caches and wherever a disk keeps old blocks, under
a key that is still here. So all that stays is sealed again under a new data key, and the old one is overwritten: with
it go the old packs, the old index, and what caches anywhere hold of this set.

    1  packs behind those that are there, and `index.next`, all under the new key; nobody reads them yet
    2  `keys` is replaced: the moment at which the set changes. Who opens it finds `index.next`, which these keys open
    3  `settle`: `index.next` becomes `index`, the old keys are overwritten, the old packs removed

A kill before 2 leaves the set as it was, after it the new one; whoever writes next does 3.
"""

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace as replaced
from pathlib import Path

from client.custody import intake, wrapped_keys
from client.custody.dataset_index import Index
from client.custody.dataset_writer import DatasetWriter, SealedObject, seal
from client.custody.encrypted_dataset import NEXT_INDEX, EncryptedDataset, seal_index, settle
from client.custody.key_ring import Custody
from client.custody.sealing import KEY_BYTES
from client.custody.wrapped_keys import DatasetKeys
from common.errors import CustodyError
from common.storage.files import flush_folder, replace
from common.storage.run_folder import lock_folder

Choose = Callable[[EncryptedDataset], Collection[int]]
SPARE = 1.05


def rewrite(
    custody: Custody, folder: Path, choose: Choose, advance: Callable[[int], None] = lambda total: None
) -> EncryptedDataset:
    """Write a data set again without the objects that are chosen; as it is then. Where none is, nothing is written.

    Args:
        choose: the numbers of the objects that go, of the set as this process holds it.
        advance: called with the number of objects that stay, each time that one is written.

    Raises:
        RunError: another process writes to it, or changes keys.
        CustodyError: it is not what was stored last, or has no room to be written a second time.
    """
    with lock_folder(folder, f"{folder}: another process writes to this data set. Wait for it, or stop it."):
        store = settle(custody, folder)
        if not (going := set(choose(store))):
            return store
        _refuse_without_room(store)
        keys = DatasetKeys(secrets.token_bytes(KEY_BYTES), store.secrets.pseudonyms)
        index = Index(
            store.index.retain, [], store.index.first + len(store.index.packs), intake.source_key(store).hex()
        )
        writer = DatasetWriter(replaced(store, secrets=keys, index=index))
        try:
            numbers = _copy(store, writer, going, advance)
            writer.flush()
        finally:
            writer.close()
        for case in store.index.cases:
            if case.object in numbers:
                index.add_case(replaced(case, object=numbers[case.object]))
        _exchange(custody, store, keys, index)
        return settle(custody, folder)


def _refuse_without_room(store: EncryptedDataset) -> None:
    needed, free = int(SPARE * sum(store.index.packs)), shutil.disk_usage(store.folder).free
    if free < needed:
        raise CustodyError(
            f"{store.folder}: {free / 1e9:,.1f} GB are free, and {needed / 1e9:,.1f} GB are needed: the data set is "
            "written a second time, under another key, before the first goes. Make room, and give the command again."
        )


def _copy(
    store: EncryptedDataset, writer: DatasetWriter, going: Collection[int], advance: Callable[[int], None]
) -> dict[int, int]:
    """All objects that stay, sealed again; their new numbers by their old."""
    numbers, staying = dict[int, int](), len(store.index.objects) - len(going)
    for number, entry in enumerate(store.index.objects):
        if number not in going:
            identity, ciphertext = seal(store.wraps, writer.store.secrets, store.read(number))
            entry_again = SealedObject(identity, ciphertext, entry.source, entry.frame_facts, Counter())
            numbers[number] = writer.add(entry_again)
            advance(staying)
    return numbers


def _exchange(custody: Custody, store: EncryptedDataset, keys: DatasetKeys, index: Index) -> None:
    with custody.alone():  # the site's key is not changed meanwhile, and no backup takes keys of one and index of other
        for leftover in store.folder.glob(f".{wrapped_keys.FILE}.*"):
            leftover.unlink()
        wraps = wrapped_keys.wrap(store.wraps.site, store.wraps.name, store.wraps.set, keys, custody.ring())
        replace(store.folder / NEXT_INDEX, seal_index(wraps, keys, store.version + 1, index))
        flush_folder(store.folder / "packs")
        wrapped_keys.exchange(wraps, store.folder)
