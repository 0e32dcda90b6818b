"""Keys are changed, lost, recovered and destroyed, and the images are there or gone accordingly."""

import shutil

import pytest

from client.custody import encrypted_dataset, key_ring, lifecycle, wrapped_keys
from client.custody.key_ring import Custody
from common import config as configuration
from common.errors import ConfigError, CustodyError
from common.storage.files import replace
from tests.admitted import home_of
from tests.custody import faults
from tests.custody.hospital import folder_of_dicoms, open_hospital, opened, taken_in, tell


@pytest.fixture
def custody(tmp_path):
    """A hospital with two data sets."""
    custody = open_hospital(tmp_path)
    for number, name in enumerate(("chest", "breast")):
        taken_in(custody, folder_of_dicoms(tmp_path / name, 2, seed=number), name)
    return custody


def packs(custody):
    return {path: path.read_bytes() for path in custody.sets.rglob("*") if path.is_file() and path.name != "keys"}


def test_a_new_key_opens_everything_and_writes_no_image(custody):
    before, images, told = packs(custody), tell(custody), wrapped_keys.read(custody.sets / "chest")
    ring = custody.ring()
    events = []
    assert len(lifecycle.rotate(custody, record=events.append)) == 2
    assert packs(custody) == before
    assert tell(custody) == images
    assert set(custody.ring().wrapping) & set(ring.wrapping) == set()
    assert events[0].facts["data sets"] == 2
    wrapped_keys.write(told, custody.sets / "chest")  # as an old backup has it
    with pytest.raises(CustodyError, match=r"is wrapped for key .* recover"):
        opened(custody)


def test_killed_at_any_moment_a_change_of_keys_leaves_everything_open(custody, tmp_path, capsys):
    images, start = (tell(custody), tell(custody, "breast")), tmp_path / "start"
    shutil.copytree(custody.home.folder, start)
    points = faults.count(lambda: lifecycle.rotate(custody))
    good = 0
    for at in range(1, points + 1):
        shutil.rmtree(custody.home.folder)
        shutil.copytree(start, custody.home.folder)
        assert faults.killed(lambda: lifecycle.rotate(custody), at) == -9
        open_now = (tell(custody), tell(custody, "breast")) == images
        lifecycle.rotate(custody)
        good += open_now and (tell(custody), tell(custody, "breast")) == images and len(custody.ring().wrapping) == 1
    with capsys.disabled():
        print(f"\nrotation killed at {points} of {points} points: {good} open before and after")
    assert good == points > 20


def test_a_set_that_does_not_open_keeps_the_old_keys(custody):
    content = (custody.sets / "chest" / "keys").read_bytes()
    (custody.sets / "chest" / "keys").write_bytes(content[:-9])
    with pytest.raises(CustodyError, match="keys: is not what was stored"):
        lifecycle.rotate(custody)
    (custody.sets / "chest" / "keys").write_bytes(content)
    assert tell(custody)
    assert tell(custody, "breast")


def test_the_recovery_key_brings_back_what_the_site_s_keys_no_longer_open(custody, tmp_path):
    images, pseudonyms = tell(custody), opened(custody).secrets.pseudonyms
    shutil.rmtree(custody.folder)  # the machine is lost; a backup has the data sets
    new = Custody(home_of(custody.home.folder))
    new.begin(tmp_path / "new.key")
    with pytest.raises(CustodyError, match="is wrapped for key"):
        opened(new)
    with pytest.raises(CustodyError, match="does not open with recovery key"):
        lifecycle.recover(new, new.sets / "chest", tmp_path / "new.key")
    lifecycle.recover(new, new.sets / "chest", tmp_path / "recovery.key")
    assert tell(new) == images
    assert opened(new).secrets.pseudonyms == pseudonyms
    lifecycle.recover(new, new.sets / "chest", tmp_path / "new.key")  # it is wrapped for the new one now
    outcome = taken_in(new, folder_of_dicoms(tmp_path / "chest", 4, seed=0))
    assert (outcome.already, outcome.added) == (2, 2)


def test_a_new_recovery_key_takes_the_old_one_s_place(custody, tmp_path):
    lifecycle.rotate(custody, tmp_path / "second.key")
    folder = custody.sets / "chest"
    with pytest.raises(CustodyError, match="does not open with recovery key"):
        lifecycle.recover(custody, folder, tmp_path / "recovery.key")
    assert lifecycle.recover(custody, folder, tmp_path / "second.key")


def test_a_destroyed_set_does_not_come_back(custody, tmp_path):
    folder = custody.sets / "chest"
    shutil.copytree(folder, tmp_path / "backup")
    lifecycle.destroy(custody, folder)
    assert not folder.exists()
    shutil.copytree(tmp_path / "backup", folder)
    with pytest.raises(CustodyError, match="was destroyed here"):
        opened(custody)
    with pytest.raises(CustodyError, match="was destroyed here"):
        lifecycle.adopt(custody, folder)
    assert tell(custody, "breast")


def test_keys_are_begun_once_and_the_recovery_key_is_put_elsewhere(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.yaml").write_text("site: lisbon\n", encoding="utf-8")
    custody = Custody(home_of(tmp_path / "site"))
    with pytest.raises(ConfigError, match="is in the site's folder"):
        custody.begin(tmp_path / "site" / "recovery.key")
    custody.begin(tmp_path / "recovery.key")
    assert (tmp_path / "recovery.key").stat().st_mode & 0o077 == 0
    private = key_ring.read_recovery(tmp_path / "recovery.key").private_bytes_raw().hex()
    files = [path for path in custody.folder.rglob("*") if path.is_file()]
    assert private not in "".join(path.read_text(encoding="utf-8") for path in files)
    with pytest.raises(ConfigError, match="has its custody keys already"):
        custody.begin(tmp_path / "other.key")
    with pytest.raises(ConfigError, match="expected a recovery key"):
        key_ring.read_recovery(tmp_path / "site" / "site.yaml")


def test_a_set_on_another_disk_is_found_through_a_link(custody, tmp_path):
    (custody.sets / "chest").rename(tmp_path / "large-disk")
    (custody.sets / "chest").symlink_to(tmp_path / "large-disk")
    (tmp_path / "c.yaml").write_text(
        "name: t\ndata: {kind: encrypted, path: site/sets/chest}\nsites: {split: iid}\nmodel: {kind: svm}\n",
        encoding="utf-8",
    )
    from client.custody import encrypted_cases

    source = configuration.load(tmp_path / "c.yaml").data
    assert len(encrypted_cases.open_store(source, custody.home).index.cases) == 2
    lifecycle.destroy(custody, custody.sets / "chest")
    assert not (tmp_path / "large-disk").exists()
    assert not (custody.sets / "chest").is_symlink()


def test_a_destruction_that_was_cut_short_is_ended_by_the_next(custody, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(custody.home.folder, start)
    for at in range(1, faults.count(lambda: lifecycle.destroy(custody, custody.sets / "chest")) + 1, 3):
        shutil.rmtree(custody.home.folder)
        shutil.copytree(start, custody.home.folder)
        assert faults.killed(lambda: lifecycle.destroy(custody, custody.sets / "chest"), at) == -9
        if (custody.sets / "chest").exists():
            lifecycle.destroy(custody, custody.sets / "chest")
        assert not (custody.sets / "chest").exists()
        assert tell(custody, "breast")


def test_a_link_to_a_safer_place_stays_a_link(custody, tmp_path):
    (custody.folder / "keys").rename(tmp_path / "keys")
    (custody.folder / "keys").symlink_to(tmp_path / "keys")
    lifecycle.rotate(custody)
    assert (custody.folder / "keys").is_symlink()
    assert tell(custody)


def test_a_beginning_that_was_cut_short_is_begun_again_and_lost_keys_are_not(custody, tmp_path):
    (custody.sets / "new" / "packs").mkdir(parents=True)
    assert taken_in(custody, folder_of_dicoms(tmp_path / "chest", 2, seed=0), "new").added == 2
    (custody.sets / "new" / "keys").unlink()
    with pytest.raises(CustodyError, match="keys: is missing"):
        taken_in(custody, tmp_path / "chest", "new")


def test_a_note_of_a_version_is_written_after_the_index(custody, monkeypatch):
    folder, order = custody.sets / "chest", []

    def replace_and_note(path, content):
        order.append(path.name)
        replace(path, content)

    monkeypatch.setattr(encrypted_dataset, "replace", replace_and_note)
    monkeypatch.setattr(key_ring, "replace", replace_and_note)
    encrypted_dataset.adopt(custody, folder)
    assert order == ["index", wrapped_keys.read(folder).set]
