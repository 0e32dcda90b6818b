"""What a hospital brings goes in once, whole and nameless, whatever it brings and whatever happens meanwhile."""

import contextlib
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from client import readers
from client.__main__ import main
from client.access.policy_change import begin_policy
from client.custody import importer, intake
from client.custody.encrypted_cases import read
from client.custody.importer import ImportRequest
from client.dataset.loading import load
from common import config as configuration
from common.config import Encrypted, Folder, Manifest, Npz
from common.errors import ConfigError, DataError, ImageError, RunError
from tests.custody import faults
from tests.custody.hospital import dicom, folder_of_dicoms, open_hospital, opened, taken_in, tell, written

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(3)


@pytest.fixture
def custody(tmp_path):
    return open_hospital(tmp_path)


def grey(size=6):
    return RNG.integers(0, 256, (size, size), np.uint8)


def table(custody, name="chest", **settings):
    home = custody.home.folder
    source = {"kind": "encrypted", "path": home / "sets" / name, "cache": home / "cache", **settings}
    return read(Encrypted(**source), custody.home)


def manifest(folder, lines):
    (folder / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    return Manifest(kind="manifest", path=folder / "list.csv", on_error="report")


# --- every kind of source -------------------------------------------------------------------------------------------


def test_nested_dicoms_are_taken_in_and_a_patient_is_known_by_a_pseudonym(custody, tmp_path):
    outcome = taken_in(custody, folder_of_dicoms(tmp_path / "source", 8))
    assert (outcome.added, outcome.already, outcome.problems) == (8, 0, [])
    seen = table(custody)
    assert seen.classes == ("ill", "well")
    assert len(set(seen.patient)) == 4
    assert all(name.startswith("P-") and len(name) == 18 for name in seen.patient)
    assert [case.patient for case in opened(custody).index.cases] == [None] * 8  # in the files themselves
    again = open_hospital(tmp_path / "porto", "porto")
    taken_in(again, tmp_path / "source")
    assert not set(table(again).patient) & set(seen.patient)


def test_pictures_keep_their_pixels_and_lose_all_else(custody, tmp_path):
    source = tmp_path / "source"
    (source / "ill").mkdir(parents=True)
    (source / "well").mkdir()
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "Sousa^Ana")
    turned = Image.Exif()
    turned[0x0112], turned[0x010E] = 6, "Sousa^Ana"
    Image.fromarray(grey()).save(source / "ill" / "Sousa.png", pnginfo=text)
    Image.fromarray(RNG.integers(0, 65536, (5, 7), np.uint16)).save(source / "ill" / "deep.png")
    Image.fromarray(RNG.integers(0, 256, (8, 6, 3), np.uint8)).save(source / "well" / "a.jpg", exif=turned)
    Image.fromarray(RNG.random((6, 6), np.float32)).save(source / "well" / "b.tif", description="Sousa^Ana")
    plain = Folder(kind="folder", path=source, cache=tmp_path / "plain")
    from client.sources import file_list as files

    expected = list(files.read(plain).images.pictures(range(4)))
    taken_in(custody, source)
    seen = table(custody)
    for before, after in zip(expected, seen.images.pictures(range(4)), strict=True):
        np.testing.assert_array_equal(before.pixels, after.pixels)
        assert (before.low, before.high) == (after.low, after.high)
    assert [seen.images.facts(i) for i in range(4)] == [files.read(plain).images.facts(i) for i in range(4)]
    objects, _ = tell(custody)
    assert not [content for content in objects if b"Sousa" in content]
    assert not (custody.home.folder / "cache").exists()


def test_an_npz_with_all_its_columns_goes_in(custody, tmp_path):
    images = RNG.integers(0, 256, (9, 5, 5), np.uint8)
    images[8] = images[0]  # the same picture of two cases
    columns = {
        "who": [f"P{i // 2}" for i in range(9)],
        "part": ["train"] * 4 + ["test"] * 5,
        "site": ["a", "b"] * 4 + ["a"],
    }
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(9) % 2, **columns)
    source = Npz(kind="npz", path=tmp_path / "x.npz", labels=("well", "ill"), patient="who", split="part", site="site")
    assert importer.run(custody, ImportRequest(source, "chest")).added == 9
    assert importer.run(custody, ImportRequest(source, "chest")).already == 9
    seen = table(custody, labels=("well", "ill"))
    np.testing.assert_array_equal([p.pixels[:, :, 0] for p in seen.images.pictures(range(9))], images)
    assert seen.labels.tolist() == (np.arange(9) % 2).tolist()
    assert seen.split == ("train",) * 4 + ("test",) * 5
    assert seen.site == tuple(columns["site"])
    assert [seen.patient.index(name) for name in seen.patient] == [i // 2 * 2 for i in range(9)]


def test_a_csv_may_name_files_frames_and_whole_studies(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 4)
    many = dicom(np.concatenate([grey(), grey(), grey()]), NumberOfFrames=3, Rows=6)
    (source / "many.dcm").write_bytes(written(many))
    Image.fromarray(grey()).save(source / "one.png")
    lines = ["path,label,patient,frame", "ill/Sousa-0,ill,P-0,", "many.dcm,well,P-9,0", "many.dcm,ill,P-9,2"]
    lists = manifest(
        tmp_path, [*lines, "one.png,well,P-0,", "many.dcm,well,P-9,7", "none.dcm,ill,P-1,", "ill,ill,P-2,x"]
    )
    outcome = importer.run(custody, ImportRequest(lists, "chest", base=source))
    assert outcome.added == 5 + 1  # the last is a frame that is not there: decoding says so when it is read
    assert [p.row for p in outcome.problems] == [8, 7]
    seen = table(custody, on_error="report")
    assert len(seen) == 5
    assert "has no frame 7" in str(seen.problems[0])
    assert seen.patient[0] == seen.patient[1] == seen.patient[4] != seen.patient[2]
    assert len(opened(custody).index.objects) == 4


def test_a_label_that_changed_is_pointed_out_and_not_taken_over(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 4)
    taken_in(custody, source)
    (source / "ill").rename(source / "other")
    (source / "well").rename(source / "ill")
    outcome = taken_in(custody, source)
    assert outcome.added == outcome.already == 0
    assert {problem.what for problem in outcome.problems} == {
        "is in already, with label 'ill' and not 'other'", "is in already, with label 'well' and not 'ill'"
    }  # fmt: skip


# --- what is left out -----------------------------------------------------------------------------------------------


def test_bad_files_are_named_and_the_rest_goes_on(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 4)
    good = written(dicom(grey()))
    bomb = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\x00\xff\xff\xff" * 2 + b"\x08\0\0\0\0" + bytes(4)
    bad = {
        "cut.dcm": good[:-20], "empty.dcm": b"", "text.dcm": b"hello", "bomb.png": bomb, "zeros.dcm": bytes(4000),
        "wrong.dcm": good.replace(b"\x28\x00\x10\x00US\x02\x00\x06\x00", b"\x28\x00\x10\x00US\x02\x00\x60\x00"),
        "shot.png": png("screenshot"), "us.dcm": written(dicom(grey(), Modality="US")),
    }  # fmt: skip
    for name, content in bad.items():
        (source / "ill" / name).write_bytes(content)
    outcome = taken_in(custody, source, processes=2)
    assert outcome.added == 4
    assert sorted(os.path.basename(problem.file) for problem in outcome.problems) == sorted(bad)  # noqa: PTH119
    told = " ".join(map(str, outcome.problems))
    assert "may show a name in its pixels: modality US, ultrasound" in told
    assert "a screenshot, as its metadata says" in told
    assert "--allow-burned-in" in told
    outcome = taken_in(custody, source, allow_burned_in=True)
    assert outcome.added == 2
    assert len(outcome.problems) == len(bad) - 2


def test_a_name_where_no_element_is_known_for_it_is_noticed(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 2)
    hidden = dicom(np.frombuffer(b"Ferreira".ljust(36), np.uint8).reshape(6, 6), PatientName="Ferreira^Ana")
    (source / "ill" / "hidden.dcm").write_bytes(written(hidden))
    outcome = taken_in(custody, source)
    assert outcome.added == 2
    assert "bytes of its pixels spell the patient's name or number" in str(outcome.problems[0])


def png(software):
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", software)
    Image.fromarray(grey()).save(content := io.BytesIO(), "PNG", pnginfo=text)
    return content.getvalue()


def test_a_file_that_kills_its_decoder_is_named_and_the_rest_goes_on(custody, tmp_path, monkeypatch):
    detect = readers.detect
    monkeypatch.setattr(readers, "detect", lambda path: os._exit(1) if "IM00002" in str(path) else detect(path))
    forked = multiprocessing.get_context("fork")  # a spawned process would not know of what is broken here
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: forked)
    outcome = taken_in(custody, folder_of_dicoms(tmp_path / "source", 8), processes=2)
    assert outcome.added == 7
    assert "IM00002: breaks its decoder" in str(outcome.problems[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux which processes there are")
def test_a_killed_import_leaves_no_process_behind(custody, tmp_path):
    begin_policy(custody.home, "")
    source = folder_of_dicoms(tmp_path / "source", 200, size=32)
    command = [sys.executable, "-m", "client", "import", source, "--name", "chest", "--processes", "2"]
    begun = subprocess.Popen([*command, "--home", custody.home.folder], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (children := processes_of(begun.pid)) or not any((custody.sets / "chest" / "packs").glob("*")):
        assert begun.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun.kill()
    begun.wait()
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(opened(custody).verify())
    outcome = taken_in(custody, source)
    assert outcome.added + outcome.already == 200


def processes_of(parent):
    """Its children, by their numbers."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if status.read_text(encoding="utf-8").rpartition(")")[2].split()[1] == str(parent):
                found.append(int(status.parent.name))
    return found


def test_hostile_bytes_in_a_dicom_give_a_message_and_no_more(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 4)
    content = written(dicom(grey()))
    for i in range(60):
        damaged = bytearray(content)
        for at in RNG.integers(132, len(content), 5):
            damaged[at] = RNG.integers(256)
        (source / "ill" / f"{i}.dcm").write_bytes(damaged)
    outcome = taken_in(custody, source)
    assert outcome.added + outcome.already + len(outcome.problems) == 64
    assert not list(opened(custody).verify())
    assert len(table(custody)) == outcome.added


# --- what happens meanwhile -----------------------------------------------------------------------------------------


def test_the_same_command_again_adds_only_what_is_new(custody, tmp_path):
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 4))
    before = tell(custody)
    outcome = taken_in(custody, folder_of_dicoms(tmp_path / "source", 6), processes=1)
    assert (outcome.added, outcome.already) == (2, 4)
    after = tell(custody)
    assert [part[:4] for part in after] == list(before)
    version = opened(custody).version
    assert taken_in(custody, tmp_path / "source").already == 6
    assert opened(custody).version == version


def test_killed_at_any_moment_nothing_that_was_stored_is_lost_and_the_rest_comes_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importer, "COMMIT_S", 0.0)  # a commit after every file
    monkeypatch.setattr(importer, "COMMIT_SHARE", 0.0)
    source = folder_of_dicoms(tmp_path / "source", 4)
    custody = open_hospital(tmp_path / "x")
    clean = tmp_path / "clean"
    shutil.copytree(custody.home.folder, clean)

    def again():
        shutil.rmtree(custody.home.folder)
        shutil.copytree(clean, custody.home.folder)

    points = faults.count(lambda: taken_in(custody, source))
    tried = range(1, points + 1, 6)
    recovered = lost = 0
    for at in tried:
        again()
        assert faults.killed(lambda: taken_in(custody, source), at) == -9
        stored = tell(custody)[1] if (custody.sets / "chest" / "keys").exists() else []
        assert faults.killed(lambda: taken_in(custody, source), points // 2 + at % 7) in (-9, *range(points))
        outcome = taken_in(custody, source)
        objects, cases = tell(custody)
        lost += cases[: len(stored)] != stored
        recovered += len(objects) == len(cases) == outcome.added + outcome.already == 4
    with capsys.disabled():
        print(f"\nimport killed at {len(tried)} of {points} points: {recovered} recovered, {lost} lost")
    assert recovered == len(tried) > 15
    assert lost == 0


@pytest.mark.parametrize("room_bytes", [0, 1, 900, 2600])
def test_a_full_disk_is_one_clear_error_and_the_same_command_goes_on(custody, tmp_path, monkeypatch, room_bytes):
    source = folder_of_dicoms(tmp_path / "source", 6)
    disk = faults.FullDisk(monkeypatch, room_bytes)
    with pytest.raises(
        DataError, match=r"packs/00000: cannot be written \(No space left on device\).*Make room"
    ) as error:
        taken_in(custody, source)
    fitted = len(tell(custody)[1])
    assert f"{fitted} cases are stored" in str(error.value)
    disk.room = 10**9
    outcome = taken_in(custody, source)
    assert (outcome.already, outcome.added) == (fitted, 6 - fitted)
    assert not list(opened(custody).verify())


def test_ctrl_c_keeps_what_is_in(custody, tmp_path):
    def stop(total, calls=[]):  # noqa: B006
        calls.append(total)
        if len(calls) == 3:
            raise KeyboardInterrupt

    source, events = Folder(kind="folder", path=folder_of_dicoms(tmp_path / "source", 6)), []
    with pytest.raises(KeyboardInterrupt):
        importer.run(custody, ImportRequest(source, "chest"), stop, events.append)
    assert len(tell(custody)[1]) == 3
    assert (events[0].outcome, events[0].facts["added"]) == ("failed", 3)


def test_one_import_at_a_time(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 2)
    taken_in(custody, source)
    from client.custody.dataset_writer import open_for_writing

    with (
        open_for_writing(custody, custody.sets / "chest"),
        pytest.raises(RunError, match="another process is importing"),
    ):
        taken_in(custody, source)


def test_one_data_set_is_de_identified_in_one_way(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 2)
    taken_in(custody, source, retain=frozenset({"dates"}))
    with pytest.raises(ConfigError, match="was begun with --retain dates"):
        taken_in(custody, source)


# --- what becomes of it ---------------------------------------------------------------------------------------------


def test_no_patient_is_on_two_sides_and_the_cache_holds_nothing_in_the_clear(custody, tmp_path):
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 60, size=16))
    text = (
        f"name: t\ndata: {{kind: encrypted, path: '{custody.sets / 'chest'}', cache: '{tmp_path / 'cache'}'}}\n"
        "sites: {split: iid, count: 2}\nmodel: {kind: svm}\n"
    )
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    config = configuration.load(tmp_path / "c.yaml")
    first = load(config, 1, home=custody.home)
    entries = sorted((tmp_path / "cache").rglob("*.npz"))
    assert len(entries) == 60
    again = load(config, 1, home=custody.home)
    for one, other in zip(first.sites, again.sites, strict=True):
        np.testing.assert_array_equal(one.train.images, other.train.images)
    images = [image.astype(np.uint8).tobytes()[:32] for image in first.sites[0].train.images]
    told = b"".join(entry.read_bytes() for entry in entries)
    assert not [image for image in images if image in told]
    assert not [name for name in read(config.data, custody.home).patient if name.encode() in told]
    for entry in entries[::7]:  # a changed entry is made again
        content = bytearray(entry.read_bytes())
        content[len(content) // 2] ^= 1
        entry.write_bytes(content)
    for one, other in zip(first.sites, load(config, 1, home=custody.home).sites, strict=True):
        np.testing.assert_array_equal(one.train.images, other.train.images)


def test_an_event_tells_no_file_and_no_patient(custody, tmp_path):
    events = []
    source = Folder(kind="folder", path=folder_of_dicoms(tmp_path / "source", 4))
    importer.run(custody, ImportRequest(source, "chest"), record=events.append)
    (event,) = events
    assert (event.action, event.outcome, event.facts["added"]) == ("import", "done", 4)
    assert "Sousa" not in repr(event)
    assert "IM0" not in repr(event)


def test_unreadable_rows_are_image_errors_all_through(custody, tmp_path):
    taken_in(custody, folder_of_dicoms(tmp_path / "source", 2))
    desk = intake.Intake(opened(custody), False)
    row = importer.CaseRow(importer.ImageFile(tmp_path / "gone.dcm"), "ill")
    assert isinstance(desk.take(row), ImageError)


@contextlib.contextmanager
def small_disk(place, size):
    """A file system of its own in a folder; only root can have one."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk of its own needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_loses_nothing_and_the_same_command_goes_on(custody, tmp_path):
    source = folder_of_dicoms(tmp_path / "source", 40, size=64)
    with small_disk(custody.sets, "96k"):
        with pytest.raises(DataError, match=r"sets/chest.*: cannot be written \(No space left on device\)") as error:
            taken_in(custody, source)
        fitted = len(tell(custody)[1])
        assert 0 < fitted < 40
        assert f"{fitted} cases are stored" in str(error.value) or "was committed before is stored" in str(error.value)
        subprocess.run(["mount", "-o", "remount,size=4m", str(custody.sets)], check=True)
        outcome = taken_in(custody, source)
        assert (outcome.already, outcome.added) == (fitted, 40 - fitted)
        assert not list(opened(custody).verify())


def test_a_disk_that_turned_read_only_is_named(custody, tmp_path):
    with small_disk(custody.sets, "4m"):
        taken_in(custody, folder_of_dicoms(tmp_path / "source", 6))
        subprocess.run(["mount", "-o", "remount,ro", str(custody.sets)], check=True)
        with pytest.raises((DataError, OSError), match="Read-only file system"):
            taken_in(custody, folder_of_dicoms(tmp_path / "more", 8, seed=2))
        assert len(tell(custody)[1]) == 6


def test_an_import_says_in_steps_how_far_it_is_and_how_long_it_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("common.cli.progress.LINE_EVERY_S", 0.0)
    source = folder_of_dicoms(tmp_path / "source", 12)
    main(["init", "lisbon"])
    main(["custody", "begin", str(tmp_path / "away.key")])
    assert main(["import", str(source), "--name", "chest", "--processes", "1"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("importing  (")]
    shares = [int(line.partition("(")[2].partition(" %")[0]) for line in lines]
    assert shares == [int(100 * i / 12 + 1e-9) for i in range(1, 13)]
    assert all("left" in line for line in lines[1:-1])
