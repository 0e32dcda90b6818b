"""A data set is written again without some of its images: nothing that is left opens them, whatever ends it when."""

import shutil

import pytest

from client.custody import sealing, wrapped_keys
from client.custody.dataset_index import Index
from client.custody.encrypted_cases import EncryptedImage
from client.custody.rewriting import rewrite
from client.sources import image_cache
from common.errors import CustodyError
from tests.custody import faults
from tests.custody.hospital import folder_of_dicoms, open_hospital, opened, taken_in, tell

GONE = {1, 4}


@pytest.fixture
def custody(tmp_path):
    """A hospital with a data set of six images."""
    custody = open_hospital(tmp_path)
    taken_in(custody, folder_of_dicoms(tmp_path / "export"))
    return custody


def without(custody):
    return rewrite(custody, custody.sets / "chest", lambda store: GONE if len(store.index.objects) == 6 else ())


def test_what_stays_is_as_it_was_and_what_goes_opens_no_more(custody, tmp_path):
    folder, before, (objects, cases) = custody.sets / "chest", opened(custody), tell(custody)
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    after = without(custody)
    assert after.version == before.version + 1
    assert tell(custody)[0] == [content for number, content in enumerate(objects) if number not in GONE]
    labels = [(case.label, case.patient, case.split) for case in cases if case.object not in GONE]
    assert [(case.label, case.patient, case.split) for case in tell(custody)[1]] == labels
    assert {path.name for path in folder.iterdir()} == {"keys", "index", "packs", ".lock"}
    left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for number in GONE:  # not one sealed byte of them is there
        entry = before.index.objects[number]
        sealed = files[(folder / "packs" / f"{entry.pack:05d}").relative_to(folder)][entry.offset :][: entry.length]
        assert sealed not in left
        with pytest.raises(CustodyError):  # and where a copy is, the keys that are here do not open it
            sealing.unseal(after.secrets.data, sealed, before.wraps.place("object", entry.id), "a copy")
    (folder / "index").write_bytes(files[(folder / "index").relative_to(folder)])
    with pytest.raises(CustodyError, match="is not what was stored"):
        opened(custody)


def test_the_set_as_it_was_is_known_to_be_old(custody, tmp_path):
    shutil.copytree(custody.sets / "chest", tmp_path / "chest")
    without(custody)
    shutil.rmtree(custody.sets / "chest")
    shutil.copytree(tmp_path / "chest", custody.sets / "chest")
    with pytest.raises(CustodyError, match="was set back"):
        opened(custody)


def test_killed_at_any_moment_it_is_as_before_or_as_after_and_goes_on(custody, tmp_path, capsys):
    start, before = tmp_path / "start", tell(custody)
    shutil.copytree(custody.home.folder, start)
    points = faults.count(lambda: without(custody))
    without(custody)
    after = tell(custody)
    good, seen = 0, {0: 0, 1: 0}
    for at in range(1, points + 1):
        shutil.rmtree(custody.home.folder)
        shutil.copytree(start, custody.home.folder)
        assert faults.killed(lambda: without(custody), at) == -9
        now = tell(custody)
        assert now in (before, after), at
        seen[now == after] += 1
        without(custody)
        folder = custody.sets / "chest"
        good += tell(custody) == after and {path.name for path in folder.iterdir()} == {
            "keys",
            "index",
            "packs",
            ".lock",
        }
        assert len(list((folder / "packs").iterdir())) == 1
    with capsys.disabled():
        print(f"\nwritten again, killed at {points} points: {seen[0]} as before, {seen[1]} as after, {good} went on")
    assert good == points > 20
    assert all(seen.values())


def test_an_import_afterwards_knows_what_was_in_and_goes_on(custody, tmp_path):
    without(custody)
    outcome = taken_in(custody, folder_of_dicoms(tmp_path / "export", 8))
    assert (outcome.already, outcome.added) == (4, 4)
    assert not list(opened(custody).verify())
    assert without(custody).version == opened(custody).version
    wraps = wrapped_keys.read(custody.sets / "chest")
    assert wraps.set == opened(custody).wraps.set


def test_what_a_cache_holds_of_it_opens_no_more(custody, tmp_path):
    cache = tmp_path / "cache"
    for number in range(6):
        image_cache.build(cache, EncryptedImage(opened(custody), number), "middle")
    assert len(list(cache.rglob("*.npz"))) == 6
    before = opened(custody)
    after = without(custody)
    for number in range(6):
        image = EncryptedImage(before, number)
        assert image_cache.look_up(cache, image, "middle")
        under_new_keys = EncryptedImage(type(after)(**{**after.__dict__, "index": before.index}), number)
        assert image_cache.look_up(cache, under_new_keys, "middle") is None


def test_without_room_for_a_second_copy_nothing_is_begun(custody, monkeypatch):
    before = tell(custody)
    usage = shutil.disk_usage(custody.home.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(CustodyError, match="Make room"):
        without(custody)
    assert tell(custody) == before


def test_an_index_of_a_release_before_is_read(custody):
    index = opened(custody).index
    import json

    fields = json.loads(index.encode())
    del fields["first"], fields["source_key"]
    assert Index.decode(json.dumps(fields).encode()).encode() == index.encode()
