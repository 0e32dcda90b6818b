"""What was backed up is what is restored, byte by byte; what is damaged is named; kills and full disks lose nothing."""

import random
import re
import shutil
import stat

import numpy as np
import pytest

from client.access import door_messages
from client.access.doorkeeper import Doorkeeper
from client.backup import drill, known_backups, restore, snapshot, unlock, verify
from client.custody import lifecycle
from client.custody.key_ring import Custody
from client.home import SiteFolder
from client.plans import judge
from common.errors import BackupError, ConfigError, CustodyError
from common.storage import tensorfile
from common.trust.documents import read_document
from tests.admitted import home_of
from tests.backup.places import Place, content, little_room
from tests.custody import faults
from tests.custody.hospital import tell
from tests.package.shop import make
from tests.tally import TRIED

OWN = (
    "identity", "node", "old", "restored", "lisbon.request", "custody/backups", "custody/seen", "audit",
    "privacy/closed", "sets/chest/index", "sets/breast/index",
)  # fmt: skip
"""What a restored site has anew: keys, notes, a line in its log, and the index as a version above all before."""


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.bring(2)
    return place


def test_every_snapshot_gives_exactly_the_bytes_of_its_time(place):
    draw = random.Random(7)
    states = []
    for step in range(4):
        place.bring(2 * (step + 1), "chest" if draw.random() < 0.6 else "breast", seed=step)
        (place.home.folder / "notes.txt").write_bytes(draw.randbytes(draw.randrange(3000)))
        if draw.random() < 0.5:
            lifecycle.rotate(place.custody)
        assert place.backup().number == step + 1
        states.append((content(place.home.folder, but=OWN), tell(place.custody)))
    for number, (expected, images) in enumerate(states, 1):
        told, home = place.restored(f"new-{number}", number)
        assert told.problems == []
        assert content(home.folder, but=OWN) == expected
        assert tell(Custody(home)) == images
        home.log.verify()
        assert [entry for entry in home.log.lines() if b'"restore"' in entry]
    assert place.problems() == []


def test_a_site_whose_process_runs_is_backed_up_without_the_socket_of_its_door(place):
    with Doorkeeper(SiteFolder(place.home.folder)).open():
        assert stat.S_ISSOCK((place.home.folder / door_messages.NAME).stat().st_mode)
        assert place.backup().number == 1
    told, home = place.restored("new")
    assert told.problems == []
    assert not (home.folder / door_messages.NAME).exists()


def test_what_did_not_change_is_not_written_again_and_a_pack_costs_its_growth(place, monkeypatch):
    monkeypatch.setattr(snapshot, "PIECE_BYTES", 4096)
    monkeypatch.setattr("client.backup.create.PIECE_BYTES", 4096)
    first = place.backup()
    assert first.written_bytes > first.read_bytes
    assert place.backup().written_bytes == 0
    place.bring(40, size=40)
    place.backup()
    before = (place.home.folder / "sets/chest/packs/00000").stat().st_size
    place.bring(42, size=40)
    grown = (place.home.folder / "sets/chest/packs/00000").stat().st_size - before
    index = (place.home.folder / "sets/chest/index").stat().st_size
    assert place.backup().written_bytes < grown + index + 2 * 4096 + 3000 < before


def test_a_log_that_grows_while_it_is_backed_up_leaves_a_snapshot_that_can_be_read(place):
    grown = []

    def grow(_):
        if len(grown) < 40:
            grown.append(place.home.log.record("killed", facts={"entry": len(grown)}))

    assert place.backup(progress=grow).problems == []
    assert len(grown) > 10
    assert place.problems() == []
    told, home = place.restored()
    assert told.problems == []
    home.log.verify()


def test_nothing_on_the_disk_can_be_read_without_a_key(place):
    place.backup()
    disk = b"".join(content(place.disk).values())
    for secret in ("custody/keys", "me.key", "site.yaml", "audit/key", "audit/log"):
        assert (place.home.folder / secret).read_bytes()[-40:] not in disk
    for text in (b"wrapping", b"site: lisbon", b"sets/chest", b'pseudonyms"'):
        assert text not in disk
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in place.disk.rglob("*") if path.is_file()
               and path.name != ".lock")  # fmt: skip


# --- tampering ------------------------------------------------------------------------------------------------------


def named(place, path, *, restoring=True):
    """Whether `verify` and `restore` both say which file is not what was stored, and no site comes of it."""
    lines = verified(place)
    if not restoring:
        return any(str(path) in line for line in lines)
    shutil.rmtree(place.folder / "new", ignore_errors=True)
    try:
        told, home = place.restored()
        refused = bool(told.problems) and not (home.folder / "site.yaml").exists()
        told = told.problems
    except (BackupError, ConfigError) as error:
        refused, told = True, [str(error)]
    return refused and all(any(str(path) in line for line in lines) for lines in (lines, told))


def verified(place):
    """What `verify` says."""
    try:
        return place.problems()
    except BackupError as error:
        return [str(error)]


def test_every_flipped_byte_of_a_backup_is_named_and_nothing_is_made_of_it(tmp_path):
    place = Place(tmp_path)
    place.bring(1, size=2)
    place.backup()
    tried = detected = 0
    for path in [path for path in sorted(place.disk.rglob("*")) if path.is_file() and path.name != ".lock"]:
        whole = path.read_bytes()
        # Of what is long, the ends and some bytes between; `benchmarks/backup.py` tries each, and restores each time.
        for at in [at for at in range(len(whole)) if at < 16 or at >= len(whole) - 16 or at % 29 == 0]:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            tried += 1
            detected += named(place, path, restoring=tried % 40 == 0)
        path.write_bytes(whole)
    TRIED["bytes flipped in a backup"] += tried
    TRIED["bytes flipped in a backup, and named"] += detected
    assert tried == detected > 400
    assert place.problems() == []


def test_every_deletion_truncation_and_swap_is_named(place):
    place.backup()
    place.bring(4)
    place.backup()
    files = [path for path in sorted(place.disk.rglob("*")) if path.is_file() and path.name != ".lock"]
    tried = detected = 0
    needed = {place.vault.path_of(name) for name in place.vault.snapshot(2).objects}
    files = [path for path in files if path in needed or path.name in ("keys", "000002")]
    for number, path in enumerate(files):
        whole, other = path.read_bytes(), files[number - 1].read_bytes()
        for instead in (None, whole[: len(whole) // 2], whole[:-1], b"", whole + b"\0", other):
            path.unlink() if instead is None else path.write_bytes(instead)
            tried += 1
            # Without its newest snapshot, a backup gives the one before to who has no note: the site itself has one.
            unseen = instead is None and path.name == "000002"
            detected += named(place, path, restoring=not unseen and instead in (None, other))
            path.write_bytes(whole)
    TRIED["files of a backup deleted, cut or swapped"] += tried
    TRIED["files of a backup deleted, cut or swapped, named"] += detected
    assert tried == detected > 60


def test_a_backup_that_was_set_back_is_not_gone_on_with_unless_somebody_says_so(place):
    place.backup()
    shutil.copytree(place.disk, place.folder / "earlier")
    place.bring(4)
    place.backup()
    shutil.rmtree(place.disk)
    shutil.copytree(place.folder / "earlier", place.disk)
    assert "000002: is gone; this site has made 2" in place.problems()[0]
    with pytest.raises(BackupError, match="000002: is gone"):
        place.backup()
    assert place.backup(anew=True).number == 3
    place.vault.snapshot_path(1).write_bytes(place.vault.snapshot_path(3).read_bytes())
    assert "000001: is not what was stored" in place.problems()[0]


def test_a_damaged_newest_snapshot_costs_neither_the_older_ones_nor_the_next(place):
    place.backup()
    images = tell(place.custody)
    place.bring(4)
    place.backup()
    place.vault.snapshot_path(2).write_bytes(b"x" * 500)
    with pytest.raises(BackupError, match="000002: is another than this site has written"):
        place.backup()
    with pytest.raises(BackupError, match="000002: is not what was stored"):
        place.restored()
    told, home = place.restored("older", 1)
    assert "What was destroyed or published since snapshot 1 is not known" in told.problems[0]
    assert tell(Custody(home)) == images
    assert place.backup(anew=True).number == 3
    assert tell(Custody(place.restored()[1])) == tell(place.custody)


def test_a_disk_that_is_not_mounted_is_asked_about(place):
    place.backup()
    shutil.rmtree(place.disk / "lisbon")
    with pytest.raises(BackupError, match="Is the disk mounted"):
        place.backup()
    with pytest.raises(BackupError, match="Is the disk mounted"):
        unlock.backup_folder(place.disk)
    assert take_anew(place).number == 1


def take_anew(place):
    from client.backup import create

    return create.run(place.custody, unlock.open_or_begin(place.custody, place.disk, True))


def test_another_key_opens_nothing(place, tmp_path):
    place.backup()
    other = Place(tmp_path / "other")
    with pytest.raises(BackupError, match="does not open with recovery key"):
        unlock.open_by_recovery_key(place.disk / "lisbon", other.recovery)
    with pytest.raises(BackupError, match="is wrapped for key"):
        unlock.open_backup(other.custody, place.disk / "lisbon")
    place.disk.joinpath("lisbon").rename(place.disk / "porto")
    with pytest.raises(BackupError, match="is a backup of lisbon, in a folder porto"):
        unlock.open_backup(place.custody, place.disk / "porto")
    place.disk.joinpath("porto").rename(place.disk / "lisbon")
    with pytest.raises(ConfigError, match="expected a recovery key"):
        unlock.open_by_recovery_key(place.disk / "lisbon", place.home.folder / "site.yaml")


def test_after_a_change_of_keys_the_disk_need_not_be_there_and_the_old_key_opens_no_new_wrap(place, tmp_path):
    place.backup()
    place.disk.rename(tmp_path / "away")
    old = shutil.copytree(place.home.folder, tmp_path / "thief")
    lifecycle.rotate(place.custody, tmp_path / "second.key")
    (tmp_path / "away").rename(place.disk)
    keys = place.disk / "lisbon" / "keys"
    content, name = keys.read_bytes(), place.vault.wraps.mac.encode()
    assert name not in content  # an old wrap, and its keys are had from the note
    keys.write_bytes(content.replace(b'"recovery": "', b'"recovery": "0'))
    with pytest.raises(BackupError, match="keys: is not what was stored"):
        _ = place.vault
    keys.write_bytes(content)
    assert place.vault.snapshot(1).number == 1
    place.backup()
    shutil.rmtree(old / "custody/backups")
    with pytest.raises(BackupError, match="is wrapped for key"):
        unlock.open_backup(Custody(home_of(old)), place.disk / "lisbon")
    with pytest.raises(BackupError, match="does not open with recovery key"):
        place.restored()
    place.recovery = tmp_path / "second.key"
    assert tell(Custody(place.restored()[1])) == tell(place.custody)


# --- kills, full disks ----------------------------------------------------------------------------------------------


def points(action, most=24):
    """Moments of it, spread over all."""
    count = faults.count(action)
    return sorted({1 + i * (count - 1) // min(most - 1, count) for i in range(min(most, count + 1))})


def test_killed_at_any_moment_a_backup_leaves_every_snapshot_whole(place):
    place.backup()
    start = shutil.copytree(place.folder, place.folder.parent / "start")
    place.bring(4)
    shutil.rmtree(start)
    shutil.copytree(place.folder, start)
    images, tried = tell(place.custody), 0
    for at in points(place.backup):
        shutil.rmtree(place.disk)
        shutil.rmtree(place.home.folder)
        for name in ("disk", "site"):
            shutil.copytree(start / name, place.folder / name)
        tried += faults.killed(place.backup, at) == -9
        there = place.vault.numbers()
        assert there in ([1], [1, 2])
        assert place.problems() == []
        assert place.backup().number == there[-1] + 1
        assert place.problems() == []
        assert not list(place.disk.rglob(".*.*"))
    TRIED["kills of a backup that cost nothing"] += tried
    shutil.rmtree(place.folder / "new", ignore_errors=True)
    assert tell(Custody(place.restored()[1])) == images
    assert tried >= 15


def test_killed_at_any_moment_a_restoration_is_no_site_or_a_whole_one_and_goes_on(place):
    place.backup()
    images, tried = tell(place.custody), 0
    for at in points(lambda: place.restored("counted"), 16):
        shutil.rmtree(place.folder / "new", ignore_errors=True)
        killed = faults.killed(place.restored, at) == -9
        home = home_of(place.folder / "new")
        if (home.folder / "site.yaml").exists():
            assert judge.restored_s(home) > 0
        told, home = place.restored() if (home.folder / restore.MARK).exists() or not home.folder.exists() or not any(
            path.name != ".lock" for path in home.folder.iterdir()) else (None, home)  # fmt: skip
        assert told is None or told.problems == []
        assert tell(Custody(home)) == images
        assert (home.folder / "identity").exists()
        assert not (home.folder / restore.MARK).exists()
        tried += killed
    TRIED["kills of a restoration that went on"] += tried
    assert tried >= 10


def test_a_full_disk_is_named_and_costs_no_snapshot(place):
    place.backup()
    disk, saved = place.disk, content(place.disk)
    (place.home.folder / "large.bin").write_bytes(random.Random(1).randbytes(600_000))
    shutil.rmtree(disk)
    with little_room(disk, 400_000):
        for name, whole in saved.items():
            (disk / name).parent.mkdir(parents=True, exist_ok=True)
            (disk / name).write_bytes(whole)
        with pytest.raises(BackupError, match=r"objects/.*(No space left|File too large).*Make room there"):
            place.backup()
        assert place.problems() == []
        (place.home.folder / "large.bin").unlink()
        assert place.backup().number == 2


def test_a_full_disk_while_restoring_is_named_and_the_same_command_goes_on(place):
    (place.home.folder / "large.bin").write_bytes(random.Random(1).randbytes(600_000))
    place.backup()
    with little_room(place.folder / "new", 400_000), pytest.raises(OSError, match=r"large\.bin"):
        place.restored()
    told, home = place.restored()
    assert told.problems == []
    assert tell(Custody(home)) == tell(place.custody)


# --- what else ------------------------------------------------------------------------------------------------------


def test_a_damaged_set_is_left_out_and_named_and_the_rest_is_backed_up(place):
    place.bring(2, "breast", seed=3)
    (place.home.folder / "sets/chest/index").write_bytes(b"x" * 100)
    told = place.backup()
    assert "chest/index" in told.problems[0]
    assert place.vault.snapshot(1).sets() == ["breast"]
    assert place.vault.snapshot(1).left_out == (told.problems[0],)


def test_what_a_backup_has_damaged_can_be_left_out_and_the_other_images_are_there(place, monkeypatch):
    monkeypatch.setattr(snapshot, "PIECE_BYTES", 512)
    monkeypatch.setattr("client.backup.create.PIECE_BYTES", 512)
    place.bring(6)
    place.backup()
    (pack,) = (file for file in place.vault.snapshot(1).files if "packs" in file.path)
    place.vault.path_of(pack.pieces[0][1]).unlink()
    told, home = place.restored()
    assert not (home.folder / "site.yaml").exists()
    assert "sets/chest/packs/00000, piece 0" in told.problems[0]
    told, home = place.restored(leave_out=True)
    from tests.custody.hospital import opened

    damaged = list(opened(Custody(home)).verify())
    assert 1 <= len(damaged) <= 3


def test_what_was_destroyed_does_not_come_back_with_an_older_snapshot(place):
    place.bring(2, "breast", seed=3)
    place.backup()
    lifecycle.destroy(place.custody, place.custody.sets / "chest")
    place.backup()
    told, home = place.restored(number=1)
    assert "was destroyed here" in told.problems[0]
    assert list(told.sets) == ["breast"]
    with pytest.raises(CustodyError, match="destroyed"):
        tell(Custody(home))


def test_versions_go_on_above_all_that_were_before(place):
    place.backup()
    place.bring(8)
    older = (place.home.folder / "sets/chest/index").read_bytes()
    _, home = place.restored()
    (home.folder / "sets/chest/index").write_bytes(older)  # from the lost disk, newer than the backup
    with pytest.raises(CustodyError, match="set back"):
        tell(Custody(home))


def test_nothing_is_restored_over_what_is_there(place):
    place.backup()
    (place.folder / "new").mkdir()
    (place.folder / "new" / "a").write_text("a", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not empty"):
        place.restored()
    with pytest.raises(BackupError, match="there is no snapshot 7; there is: 1"):
        place.restored("other", 7)


def test_a_restored_site_goes_on_with_the_same_backup(place):
    place.backup()
    _, home = place.restored()
    place.home, place.custody = home, Custody(home)
    place.bring(4)
    assert place.backup().number == 2
    assert place.problems() == []


def test_old_snapshots_go_and_the_rest_stays_whole(place):
    for count in (2, 4, 6, 8):
        place.bring(count)
        place.backup()
    before = len(content(place.disk))
    gone, freed = verify.prune(place.vault, place.custody, 2)
    assert gone == 2
    assert freed > 0
    assert len(content(place.disk)) < before
    assert place.vault.numbers() == [3, 4]
    assert place.problems() == []
    assert place.backup().number == 5
    place.vault.snapshot_path(3).unlink()
    assert "000003: is gone" in place.problems()[0]
    assert tell(Custody(place.restored()[1])) == tell(place.custody)


def test_a_drill_restores_compares_opens_and_signs_its_report(place):
    place.backup()
    place.bring(4)
    told = drill.run(place.vault, place.custody, None, place.folder)
    assert (told.images, told.problems) == (2, [])
    assert told.changes >= 2  # index and note
    assert told.hashes == 3 * sum(len(file.pieces) for file in place.vault.snapshot(1).files)
    assert not list(place.folder.glob("consilium-drill-*"))
    path = drill.write(told, place.home, 1_800_000_000)
    paper = read_document(path, "drill")
    assert paper.verify([place.home.identity.public_key().public_bytes_raw()], "the site")["images"] == 2
    assert "passed" in path.with_suffix(".txt").read_text()
    victim = place.vault.path_of(next(f for f in place.vault.snapshot(1).files if "packs" in f.path).pieces[0][1])
    victim.write_bytes(victim.read_bytes()[:-1])
    told = drill.run(place.vault, place.custody, None, place.folder)
    assert any(str(victim) in problem for problem in told.problems)
    assert "FAILED" in told.text()


def test_a_damaged_note_says_what_to_do(place):
    place.backup()
    (known_backups.note_folder(place.custody, place.vault.wraps) / "newest").write_text("{", encoding="utf-8")
    with pytest.raises(BackupError, match="newest: damaged"):
        place.backup()


def test_a_drill_opens_the_models_that_lie_in_the_folder(place):
    made = make("svm", place.folder / "made")
    shutil.copy(made.path, place.home.folder / "chest.consilium")
    tensorfile.save(place.home.folder / "model.safetensors", {"weights/a": np.ones(3, np.float32)}, {})
    place.backup()
    told = drill.run(place.vault, place.custody, None, place.folder)
    assert told.problems == []
    assert re.fullmatch(r"chest\.consilium: svm, scores -?[\d.]+(, -?[\d.]+)*", told.models[0])
    assert told.models[1] == "model.safetensors: 1 arrays"
    tensorfile.save(place.home.folder / "model.safetensors", {"weights/a": np.full(3, np.nan, np.float32)}, {})
    (place.home.folder / "chest.consilium").write_bytes(made.file[:-1])
    place.backup()
    told = drill.run(place.vault, place.custody, None, place.folder)
    assert told.models == []
    assert "chest.consilium" in told.problems[0]
    assert "model.safetensors: not all of its numbers are finite" in told.problems[1]
