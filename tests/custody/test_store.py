"""What was stored is what is read, or an error says which file is not what was stored and how to mend it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from client.custody import dataset_writer as writing
from client.custody import key_ring, sealing
from client.custody.encrypted_cases import read
from client.custody.encrypted_dataset import EncryptedDataset
from common.config import Encrypted
from common.errors import ConfigError, ConsiliumError, CustodyError
from tests.admitted import home_of
from tests.custody.hospital import folder_of_dicoms, open_hospital, opened, taken_in, tell


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A hospital with a data set of four images in two imports, and the set as it was after the first."""
    folder = tmp_path_factory.mktemp("stored")
    custody = open_hospital(folder)
    taken_in(custody, folder_of_dicoms(folder / "source", 2))
    shutil.copytree(custody.sets / "chest", folder / "earlier")
    taken_in(custody, folder_of_dicoms(folder / "source", 4))
    return custody, tell(custody), folder / "earlier"


@pytest.fixture
def copied(stored, tmp_path):
    """The same in a place of its own, to do harm to."""
    shutil.copytree(stored[0].home.folder, tmp_path / "site")
    return key_ring.Custody(home_of(tmp_path / "site"))


def whole(custody, expected):
    """Whether a reader gets exactly what was stored; None where an error says which file, and what to do."""
    try:
        return tell(custody) == expected
    except CustodyError as error:
        return None if re.search(r"[Rr]estore|adopt|recover", str(error)) and str(custody.sets) in str(error) else error


def files(custody):
    return sorted(path for path in (custody.sets / "chest").rglob("*") if path.is_file() and path.name != ".lock")


def test_what_comes_out_is_what_went_in_and_the_disk_shows_nothing_of_it(stored):
    custody, (objects, cases), _ = stored
    assert len(objects) == len(cases) == 4
    assert tell(custody) == (objects, cases)
    content = b"".join(path.read_bytes() for path in custody.home.folder.rglob("*") if path.is_file())
    for part in (b"DICM\x02\x00", b"Sousa", b"MONOCHROME2", b"ANONYMOUS", objects[0][-40:]):
        assert part not in content
    assert all(path.stat().st_mode & 0o077 == 0 for path in [*files(custody), custody.folder / "keys"])


def test_every_flipped_byte_is_detected(tmp_path, capsys):
    custody = open_hospital(tmp_path)
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 2, size=2))
    expected, tried, detected = tell(custody), 0, 0
    for path in files(custody):
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            tried += 1
            detected += whole(custody, expected) is None
        path.write_bytes(content)
    with capsys.disabled():
        print(f"\na byte flipped in a data set: {tried} tried, {detected} detected")
    assert tried == detected > 2500
    assert whole(custody, expected)


def test_every_truncation_deletion_swap_and_set_back_is_detected(stored, copied, capsys):
    folder = copied.sets / "chest"
    tried = detected = 0

    def see():
        nonlocal tried, detected
        tried, detected = tried + 1, detected + (whole(copied, stored[1]) is None)

    for path in files(copied):
        content = path.read_bytes()
        for length in {0, 1, 7, 8, len(content) // 2, len(content) - 1}:
            path.write_bytes(content[:length])
            see()
        path.unlink()
        see()
        path.write_bytes(content)
        earlier = stored[2] / path.relative_to(folder)
        if earlier.read_bytes() != content:
            path.write_bytes(earlier.read_bytes())
            see()
            path.write_bytes(content)
    pack, index = folder / "packs" / "00000", opened(copied).index
    content = pack.read_bytes()
    for one in index.objects:
        for other in index.objects:
            if one != other:
                moved = bytearray(content)
                moved[one.offset : one.offset + one.length] = content[other.offset : other.offset + other.length]
                pack.write_bytes(moved[: len(content)])
                see()
    pack.write_bytes(content)
    shutil.rmtree(folder)
    shutil.copytree(stored[2], folder)  # all of it, as it was after the first import
    see()
    with capsys.disabled():
        print(f"\ntruncated, deleted, swapped or set back: {tried} tried, {detected} detected")
    assert tried == detected > 30


def test_an_index_that_was_set_back_is_refused_until_somebody_takes_it_as_it_is(stored, copied):
    folder = copied.sets / "chest"
    shutil.rmtree(folder)
    shutil.copytree(stored[2], folder)
    with pytest.raises(CustodyError, match="version 2 was set back: this site has seen version 3"):
        opened(copied)
    from client.custody import lifecycle

    assert lifecycle.adopt(copied, folder) == 4
    assert len(opened(copied).index.cases) == 2
    shutil.copy(stored[0].sets / "chest" / "index", folder)
    with pytest.raises(CustodyError, match="set back"):
        opened(copied)


def test_another_site_s_set_or_another_set_under_its_name_is_refused(stored, copied, tmp_path):
    other = open_hospital(tmp_path / "other", "porto")
    shutil.copytree(copied.sets / "chest", other.sets / "chest")
    with pytest.raises(CustodyError, match="is data set 'chest' of site lisbon, expected 'chest' of porto"):
        opened(other)
    (copied.sets / "chest").rename(copied.sets / "breast")
    with pytest.raises(CustodyError, match="is data set 'chest' of site lisbon, expected 'breast'"):
        opened(copied, "breast")


def test_a_set_that_the_site_never_saw_is_refused(copied):
    shutil.rmtree(copied.folder / "seen")
    with pytest.raises(CustodyError, match="remembers no such data set"):
        opened(copied)


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda path: path.unlink(), "has no custody keys"),
        (lambda path: path.write_text("{}", encoding="utf-8"), "damaged"),
        (lambda path: path.chmod(0o644), "others can read this key"),
    ],
)
def test_without_the_site_s_key_an_error_says_what_to_do(copied, harm, what):
    harm(copied.folder / "keys")
    with pytest.raises(ConfigError, match=what):
        opened(copied)


def test_a_table_says_which_image_is_damaged_and_goes_on_without_it(copied, tmp_path):
    pack = copied.sets / "chest" / "packs" / "00000"
    content = bytearray(pack.read_bytes())
    content[opened(copied).index.objects[1].offset + 100] ^= 1
    pack.write_bytes(content)
    source = Encrypted(kind="encrypted", path=copied.sets / "chest", cache=tmp_path / "cache", on_error="report")
    table = read(source, copied.home)
    assert len(table) == 3
    assert "chest/1" in str(table.problems[0])
    assert str(pack) in str(table.problems[0])
    with pytest.raises(ConsiliumError, match="1 bad case"):
        read(source.model_copy(update={"on_error": "stop"}), copied.home)


def test_objects_lie_in_as_many_packs_as_they_need(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "PACK_BYTES", 3000)
    monkeypatch.setattr("client.custody.packs.WINDOW_BYTES", 2000)
    monkeypatch.setattr("client.custody.packs.OPEN_PACKS", 2)
    custody = open_hospital(tmp_path)
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 12))
    objects, _ = tell(custody)
    store = opened(custody)
    assert len(store.index.packs) == len(list((custody.sets / "chest" / "packs").iterdir())) == 3
    assert len(objects) == 12
    for number in np.random.default_rng(1).permutation(12):
        assert store.read(int(number)) == objects[number]
    assert not list(store.verify())


def test_keys_are_never_shown(stored):
    custody, _, _ = stored
    store = opened(custody)
    secret = [store.secrets.data.hex(), store.secrets.pseudonyms.hex(), *custody.ring().wrapping.values()]
    shown = repr((store, store.secrets, custody.ring(), custody))
    assert not [key for key in secret if key in shown]


def test_no_two_places_are_one_context():
    assert sealing.context(("a", "bc")) != sealing.context(("ab", "c"))
    sealed = sealing.seal(b"k" * 32, b"content", ("lisbon", "x"))
    assert sealing.unseal(b"k" * 32, sealed, ("lisbon", "x"), "it") == b"content"
    for key, place in ((b"k" * 32, ("lisbon", "y")), (b"j" * 32, ("lisbon", "x"))):
        with pytest.raises(CustodyError, match="it: is not what was stored"):
            sealing.unseal(key, sealed, place, "it")


def test_a_store_goes_to_another_process_without_its_keys(stored):
    import pickle

    store = opened(stored[0])
    told = pickle.dumps(store)
    assert store.secrets.data not in told
    assert isinstance(again := pickle.loads(told), EncryptedDataset)  # noqa: S301  # what it wrote itself, as multiprocessing does
    assert again.read(0) == store.read(0)
    assert again.folder == Path(store.folder)
