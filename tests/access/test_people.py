"""A person's key is theirs alone; what they did is signed; and the log says nothing that it must not."""

import getpass
import os
import re
import sys
from pathlib import Path

import pytest

from client.access import people, signed_entries
from client.access.policy_store import policy_store
from common.audit.log import Log
from common.errors import AccessError, AuditError
from tests.access.staff import Site
from tests.custody.hospital import folder_of_dicoms


def test_a_key_that_others_can_read_is_nobody_s(tmp_path: Path) -> None:
    people.make(path := tmp_path / "ana.key")
    assert path.stat().st_mode & 0o777 == 0o600
    for mode in (0o640, 0o604, 0o660, 0o644):
        path.chmod(mode)
        with pytest.raises(AccessError, match="chmod 600"):
            people.open_key(path)


def test_a_key_under_a_passphrase_opens_with_it_at_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = people.make(path := tmp_path / "ana.key", "long enough")
    assert made.public not in repr(made)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(AccessError, match="at a terminal"):
        people.open_key(path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for told, right in (("long enough", True), ("long enougH", False), ("", False)):
        monkeypatch.setattr(getpass, "getpass", lambda _, told=told: told)
        if right:
            assert people.open_key(path).public == made.public
        else:
            with pytest.raises(AccessError, match="not its passphrase"):
                people.open_key(path)


@pytest.mark.parametrize(("first", "second"), [("short", "short"), ("long enough", "another one"), ("", "")])
def test_a_passphrase_is_typed_twice_and_has_a_length(first: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [second, first]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda _: typed.pop())
    with pytest.raises(AccessError, match="no passphrase"):
        people.new_passphrase()


@pytest.mark.parametrize("content", [b"", b"x" * 20_000, b"-----BEGIN PRIVATE KEY-----\n", b"\0" * 99])
def test_what_is_no_key_is_one_message(content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "ana.key").write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AccessError, match="no key of a person"):
        people.open_key(path)


def test_what_a_person_did_is_signed_and_nobody_writes_in_their_name(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.of_each_role()
    for name in ("auditor", "data-officer"):
        assert site.type("audit", "show", by=name) == 0
    home = site.home
    assert signed_entries.verify_all(home.log, policy_store(home)) == 2
    copied = next(entry for entry in site.entries() if signed_entries.SIGNATURE in entry.facts)
    as_auditor = Log(home.log.folder, home.log.origin, copied.role)
    for what, facts, why in (
        (copied.what, copied.facts, "it was copied"),
        ("approve", {}, "did not sign it"),
        ("approve", {**copied.facts, "signature": "A" * 88}, "was not signed by"),
        ("approve", {**copied.facts, "signature": "A" * 87}, "was not signed by"),
        ("approve", {**copied.facts, "signature": "A" * 88, "policy": 99}, "was not signed by"),
    ):
        log = home.log.folder
        before = {path: path.read_bytes() for path in log.iterdir() if path.is_file()}
        as_auditor.record(what, facts=facts)
        with pytest.raises(AuditError, match=why):
            signed_entries.verify_all(home.log, policy_store(home))
        assert site.type("audit", "verify", by="auditor") == 2
        for path, content in before.items():
            path.write_bytes(content)
    assert site.type("audit", "verify", by="auditor") == 0


def test_the_log_has_no_patient_no_path_and_no_file_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path)
    source = folder_of_dicoms(tmp_path / "Ward-7" / "export", 6)
    (source / "ill" / "Sousa-0" / "broken.dcm").write_bytes(b"Sousa^Ana")
    recovery = tmp_path / "away.recovery"
    assert site.type("custody", "begin", recovery) == 0
    assert site.type("import", source, "--name", "chest", "--processes", "1") == 1
    assert "broken.dcm" in capsys.readouterr().out
    assert site.type("import", tmp_path / "Ward-8", "--name", "chest") == 2
    for command in (
        ["verify", "chest"],
        ["rotate"],
        ["recover", "chest", recovery],
        ["destroy", "chest", "--really", "chest"],
    ):
        assert site.type("custody", *command) == 0
    assert site.type("custody", "verify", "chest") == 2
    assert site.type("custody", "rotate", by="nobody") == 2
    log = (site.home.folder / "audit" / "log").read_text(encoding="utf-8")
    for told in (
        "Sousa",
        "Ana",
        "P-0",
        "P-1",
        "Ward",
        "broken",
        ".dcm",
        "away",
        "recovery",
        "me.key",
        str(tmp_path),
        "/",
    ):
        assert told not in log.replace("custody recover", "")
    done = {entry.what: entry for entry in site.entries() if entry.outcome == "done"}
    assert done["import"].facts | {"added": 6, "left out": 1} == done["import"].facts
    assert re.fullmatch(r"chest [0-9a-f]+", done["import"].dataset)
    assert done["custody destroy"].dataset == done["import"].dataset
    assert done["custody rotate"].facts["data sets"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator gives a folder away")
def test_another_system_user_s_folder_is_not_worked_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path)
    os.chown(site.home.folder, 12345, -1)
    assert site.type("plans") == 2
    assert "belongs to user 12345" in capsys.readouterr().err
