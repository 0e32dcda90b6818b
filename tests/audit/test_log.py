"""The log on the disk: what was recorded stays, and whatever else was done to it is noticed."""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from common.audit import log_copy
from common.audit.entries import Entry, decode
from common.audit.heads import LogHead, load_verified_log_key, log_key_paper
from common.audit.log import Log
from common.audit.merkle_tree import Tree, leaf_hash
from common.errors import AuditError, ConfigError, ConsiliumError, IdentityError, RunError
from common.trust.keys import public_of
from common.trust.roster import Pins
from tests.audit.log_of import log_of
from tests.custody import faults


def entries(log: Log) -> list[Entry]:
    return [decode(line, number, "log") for number, line in enumerate(log.lines())]


def test_what_was_recorded_is_there_with_who_when_and_for_what(tmp_path: Path) -> None:
    log = log_of(tmp_path, 3)
    found = entries(log)
    assert [entry.number for entry in found] == [0, 1, 2]
    assert found[2].facts == {"round": 2, "kind": "train"}
    assert (found[2].role, found[2].plan, found[2].dataset) == ("operator", "chest-1a2b", "chest")
    assert found[0].user
    assert log.verify().head.size == 3
    assert [path.stat().st_mode & 0o077 for path in log.folder.iterdir() if path.name != ".lock"] == [0, 0, 0]


def test_an_act_says_that_it_began_and_how_it_ended(tmp_path: Path) -> None:
    log = log_of(tmp_path, 0)
    with log.act("import", dataset="chest") as act:
        act.facts["added"] = 40
    with pytest.raises(ConfigError), log.act("rotate") as act:
        raise ConfigError("no")
    with pytest.raises(KeyboardInterrupt), log.act("verify"):
        raise KeyboardInterrupt
    told = [(entry.what, entry.outcome, dict(entry.facts)) for entry in entries(log)]
    assert told == [
        ("import", "begun", {}), ("import", "done", {"added": 40}),
        ("rotate", "begun", {}), ("rotate", "failed", {"error": "CONFIG"}),
        ("verify", "begun", {}), ("verify", "failed", {"error": "KeyboardInterrupt"}),
    ]  # fmt: skip


def test_no_path_no_line_and_nothing_long_gets_into_an_entry(tmp_path: Path) -> None:
    log = log_of(tmp_path, 0)
    log.record("import\n", plan="/images/Sousa^Ana.dcm", facts={"a\\b": "x/y\x1b[2J" + "z" * 500})
    (entry,) = entries(log)
    said = json.dumps(entry.model_dump())
    assert "/" not in said
    assert "^" not in said
    assert "\\" not in said
    assert max(len(text) for text in entry.facts.values() if isinstance(text, str)) == 120


# --- what was done to it --------------------------------------------------------------------------------------------


def put(path: Path, content: bytes) -> None:
    """As a new file: writing over one makes some file systems wait for the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def changed_files(log: Log) -> Iterator[str]:
    """The folder's files changed in every single way of these, one after the other; afterwards they are as before."""
    for name in ("log", "head", "key"):
        path = log.folder / name
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        for at in range(len(content)):
            put(path, content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            yield f"{name}: byte {at} flipped"
        for at in range(len(content)):
            put(path, content[:at])
            yield f"{name}: cut at {at}"
        path.unlink()
        yield f"{name}: deleted"
        if name == "log":
            for one in range(len(lines)):
                put(path, b"".join(lines[:one] + lines[one + 1 :]))
                yield f"entry {one} taken out"
                put(path, b"".join(lines[:one] + lines[one : one + 1] + lines[one:]))
                yield f"entry {one} twice"
                for other in range(one):
                    swapped = list(lines)
                    swapped[one], swapped[other] = swapped[other], swapped[one]
                    put(path, b"".join(swapped))
                    yield f"entries {one} and {other} swapped"
        put(path, content)


def test_every_byte_flipped_or_cut_off_and_every_entry_moved_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, tried, missed = log_of(tmp_path, 3), 0, list[str]()
    held = log.head()
    for what in changed_files(log):
        tried += 1
        try:
            head = log.verify().head
        except AuditError:
            continue
        # White space within the file that holds the head: what it says and its signature are the same.
        if head != held:
            missed.append(what)
    with capsys.disabled():
        print(f"\nlog tampered with in {tried} ways, {tried - len(missed)} noticed, or of no effect")
    assert tried > 1500
    assert missed == []
    assert log.verify().head == held


def test_a_set_back_log_shows_itself_to_who_kept_a_head(tmp_path: Path) -> None:
    log = log_of(tmp_path, 3)
    shutil.copytree(log.folder, tmp_path / "before")
    log.record("import")
    held = log.head()
    shutil.rmtree(log.folder)
    shutil.copytree(tmp_path / "before", log.folder)
    assert log.verify()  # by itself it looks well
    now = log.head()
    assert held
    assert now
    with pytest.raises(AuditError, match="set back"):
        now.refuse_unless_extends(held, [])
    log.record("destroy")
    other = log.head()
    assert other
    with pytest.raises(AuditError, match="not the same"):
        other.refuse_unless_extends(held, [])


def test_a_longer_log_proves_that_it_extends_the_one_that_was_seen(tmp_path: Path) -> None:
    log, heads, tree = log_of(tmp_path, 0), [], Tree()
    for number in range(9):
        log.record("round answered", facts={"round": number})
        head = log.head()
        assert head
        heads.append(head)
    for line in log.lines():
        tree.append(leaf_hash(line))
    for old in heads:
        heads[-1].refuse_unless_extends(old, tree.consistency(old.size, 9))
    with pytest.raises(AuditError):
        heads[-1].refuse_unless_extends(heads[4], tree.consistency(4, 9))


def test_a_head_is_its_own_log_s_and_under_its_own_key(tmp_path: Path) -> None:
    one, two = log_of(tmp_path / "a"), log_of(tmp_path / "b")
    head = one.head()
    assert head
    own = public_of(one.key())
    assert LogHead.load_verified(head.document.encode(), own, "site lisbon") == head
    with pytest.raises(IdentityError):
        LogHead.load_verified(head.document.encode(), public_of(two.key()), "site lisbon")
    with pytest.raises(AuditError, match="expected that of site nairobi"):
        LogHead.load_verified(head.document.encode(), own, "site nairobi")
    for name in ("key", "head"):
        shutil.copy(two.folder / name, tmp_path / name)
    shutil.copy(tmp_path / "head", one.folder / "head")
    with pytest.raises(AuditError, match="is not what was written"):
        one.record("import")


def test_the_roots_vouch_for_the_coordinator_s_key(tmp_path: Path) -> None:
    root, other, key = (log_of(tmp_path / name, 1).key() for name in "abc")
    pins = Pins("pilot", (public_of(root),))
    assert load_verified_log_key(log_key_paper(public_of(key), "pilot", [root]).encode(), pins) == public_of(key)
    with pytest.raises(IdentityError):
        load_verified_log_key(log_key_paper(public_of(key), "pilot", [other]).encode(), pins)
    with pytest.raises(AuditError, match="of 'chest'"):
        load_verified_log_key(log_key_paper(public_of(key), "chest", [root]).encode(), pins)


# --- what happens to it ---------------------------------------------------------------------------------------------


def test_killed_at_any_write_a_log_has_all_that_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = 0
    rounds, approved, imported = ["round answered"], ["approve"], ["import", "approve"]
    for before in (0, 3):
        start = tmp_path / f"start-{before}"
        log_of(start, before)
        log = log_of(tmp_path / "log", 0)

        def record(log: Log = log) -> None:
            log.record("import", facts={"added": 1})

        def again(start: Path = start, log: Log = log) -> None:
            shutil.rmtree(log.folder.parent, ignore_errors=True)
            if start.exists():
                shutil.copytree(start, log.folder.parent)

        again()
        points = faults.count(record)
        for at in range(1, points + 1):
            again()
            assert faults.killed(record, at) == -9
            log.record("approve")
            found = entries(log)
            told = [entry.what for entry in found if entry.what != "log recovered"]
            assert told in (rounds * before + approved, rounds * before + imported)
            assert log.verify().head.size == len(found)
            kept += 1
        assert points > 6
    with capsys.disabled():
        print(f"\nlog killed at {kept} writes: {kept} whole, nothing lost")


@pytest.mark.parametrize("left", [b'{"at_s":1', b"\0" * 300, b"not an entry\n", b"\n"])
def test_half_an_entry_is_cut_off_and_the_log_says_so(tmp_path: Path, left: bytes) -> None:
    log = log_of(tmp_path, 3)
    with (log.folder / "log").open("ab") as file:
        file.write(left)
    assert (log.verify().after, log.verify().torn) == (0, len(left))
    log.record("import")
    assert [entry.what for entry in entries(log)][3:] == ["log recovered", "import"]
    assert entries(log)[3].facts == {"whole entries": 0, "bytes cut off": len(left)}
    assert (log.verify().after, log.verify().torn) == (0, 0)


def test_a_whole_entry_without_its_head_is_taken_over(tmp_path: Path) -> None:
    log = log_of(tmp_path, 3)
    head = (log.folder / "head").read_bytes()
    log.record("import")
    (log.folder / "head").write_bytes(head)
    assert log.verify().after == 1
    log.record("approve")
    assert [entry.what for entry in entries(log)][3:] == ["import", "log recovered", "approve"]


def test_a_full_disk_refuses_and_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path, 3)
    before = (log.folder / "log").read_bytes()
    with monkeypatch.context() as full:
        disk = faults.FullDisk(full, 20)
        with pytest.raises(OSError, match="No space left") as caught, log.act("import"):
            pytest.fail("it must not begin")
        assert caught.value.filename == str(log.folder / "log")
        assert disk.room == 0
    assert (log.folder / "log").read_bytes() == before
    log.record("import")
    assert log.verify().torn == 0


def _many(folder: Path) -> None:
    log = Log(folder, "site lisbon")
    for _ in range(10):
        log.record("round answered")


def test_processes_and_threads_share_a_log(tmp_path: Path) -> None:
    log = log_of(tmp_path, 0)
    processes = [get_context("fork").Process(target=_many, args=(log.folder,)) for _ in range(2)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: log.record("approve"), range(10)))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert log.verify().head.size == 30


def test_who_holds_a_log_for_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path, 1)
    monkeypatch.setattr("common.audit.log_files.PATIENCE_S", 0.05)
    with log._alone(), pytest.raises(RunError, match="another process holds the log"):
        log.record("import")


def test_a_log_that_was_never_begun_is_said_not_to_be_there(tmp_path: Path) -> None:
    log = Log(tmp_path / "audit", "site lisbon")
    assert log.head() is None
    assert list(log.lines()) == []
    with pytest.raises(AuditError, match="there is no log here"):
        log.verify()
    assert not (tmp_path / "audit").exists()


def test_the_user_is_the_system_s_own_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody-else")
    assert log_of(tmp_path, 0).record("import").user != "somebody-else"
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert log_of(tmp_path, 0).record("import").user == "4000000000"


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b"[" * 9000, b'{"number": 0}', b"null"])
def test_no_line_ends_in_another_error(line: bytes) -> None:
    with pytest.raises(ConsiliumError):
        decode(line, 0, "log")


def test_a_copy_shows_that_the_log_was_set_back_or_begun_anew(tmp_path: Path) -> None:
    log = log_of(tmp_path, 5)
    old = {path: path.read_bytes() for path in log.folder.iterdir() if path.is_file()}
    log.record("import", dataset="chest")
    (file := tmp_path / "copy").write_bytes(b"".join(log_copy.write(log)))
    copy = log_copy.read(file)
    copy.refuse_unless_beginning_of(log)
    log.record("rotate")
    copy.refuse_unless_beginning_of(log)
    for path, content in old.items():
        path.write_bytes(content)
    with pytest.raises(AuditError, match="does not begin with"):
        copy.refuse_unless_beginning_of(log)
    log.record("something else")
    with pytest.raises(AuditError, match="does not begin with"):
        copy.refuse_unless_beginning_of(log)
    with pytest.raises(AuditError, match="another log"):
        copy.refuse_unless_beginning_of(log_of(tmp_path / "anew", 9))
