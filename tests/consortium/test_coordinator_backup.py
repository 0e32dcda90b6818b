"""The coordinator's folder kept elsewhere: whole, sealed, restored, and accepted again by sites without new keys."""

import json
import resource
import shutil
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import pytest

from client.plans.log_witness import Witness
from client.training import hospital_site
from common.errors import AuditError, BackupError, ConfigError
from server.__main__ import main as server
from server.backup import folder as backup
from server.backup.sealed_file import CHUNK_BYTES, KEY_BYTES, SealedReader, SealedWriter
from server.consortium import membership
from server.consortium.home import Home
from server.gateway.site_api import FolderSiteApi
from server.runs import driver
from server.runs.run import Run
from tests.consortium.consortium import NAMES, Consortium
from tests.runs.test_runs import Hospitals

KEY = bytes(range(KEY_BYTES))


# --- the file -------------------------------------------------------------------------------------------------------


def sealed(content: bytes) -> bytes:
    writer = SealedWriter(file := BytesIO(), KEY)
    writer.write(content)
    writer.finish()
    return file.getvalue()


def opened(content: bytes, key: bytes = KEY) -> bytes:
    return SealedReader(BytesIO(content), key, Path("it.backup")).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5])
def test_what_is_sealed_comes_back(size: int) -> None:
    content = bytes(i * i % 251 for i in range(1000)) * (size // 1000 + 1)
    assert opened(sealed(content[:size])) == content[:size]


def test_whatever_is_changed_cut_swapped_or_added_is_refused() -> None:
    whole = sealed(bytes(2 * CHUNK_BYTES + 5))
    head, step = len(whole) - len(bytes(2 * CHUNK_BYTES + 5)) - 3 * 16, CHUNK_BYTES + 16
    one, two, three = whole[head : head + step], whole[head + step : head + 2 * step], whole[head + 2 * step :]
    start = whole[:head]
    changes = [
        start + two + one + three,
        start + one + two,
        start + one + three,
        whole + three,
        whole[:-1],
        whole + b"x",
    ]
    changes += [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 30, head, head + step, len(whole) - 1)
    ]
    for change in changes:
        with pytest.raises(BackupError):
            opened(change)
    with pytest.raises(BackupError, match="recovery key is another's"):
        opened(whole, bytes(KEY_BYTES))


# --- the folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def consortium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Consortium:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    return Consortium(tmp_path / "life")


class Gateway:
    """The site API of a folder, without a network between."""

    def __init__(self, site: str, home: Home) -> None:
        self.site, self.api = site, FolderSiteApi(home)

    def history(self, question: dict[str, object]) -> dict[str, object]:
        return json.loads(json.dumps(self.api.log_head(self.site, question)))  # type: ignore[no-any-return]


def look(consortium: Consortium, site: str, home: Home) -> None:
    Witness(consortium.sites[site]).look(Gateway(site, home))  # type: ignore[arg-type]


def test_a_coordinator_is_lost_restored_and_accepted_and_trains_again(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, safe, key = consortium.home, tmp_path / "safe", tmp_path / "usb" / "pilot.recovery"
    first = consortium.begun(consortium.plan())
    driver.carry_out(first, Hospitals(consortium, first.plan))
    assert first.state.stage == "finished", first.state.why
    going_on = Run.begin(home, consortium.plan("name=going"), 3600)
    options = ["--home", str(home.folder)]
    key.parent.mkdir()
    assert server(["backup", str(safe), *options]) == 2  # nowhere to put the key
    assert server(["backup", str(safe), "--recovery", str(key), *options]) == 0
    assert server(["drill", str(safe), *options]) == 0
    assert "passed" in capsys.readouterr().out
    # what comes after the backup is lost with the folder
    membership.renew(home, 100, consortium.roots)
    consortium.roster()
    for number in range(3):
        home.log.record("round", plan="x", facts={"round": number})
    for site in NAMES:
        look(consortium, site, home)
    seen = home.roster.version
    shutil.rmtree(home.folder)

    assert server(["restore", str(safe), "--recovery", str(key), *options]) == 0
    assert first.state.stage == "finished"
    assert (first.folder / "model.safetensors").exists()
    assert going_on.state.stage == "failed"
    assert "restored from a backup of" in going_on.state.why
    assert server(["restore", str(safe), "--recovery", str(key), *options]) == 2  # never over what is there
    membership.renew(home, 365, consortium.roots)
    assert home.roster.version > seen
    assert consortium.roster().version == home.roster.version
    for site in NAMES:
        with pytest.raises(AuditError, match="set back"):
            look(consortium, site, home)
        words = Witness(consortium.sites[site]).how_to_accept()
        home.log.record("telephoned", facts={"site": site})  # the log goes on growing
        size = int(words.split("--at ")[1].split("`")[0])
        Witness(consortium.sites[site]).accept(home.log.root_at(size).hex())
        look(consortium, site, home)
    for site in NAMES:
        look(consortium, site, home)
        assert not consortium.sites[site].witness_refused.exists()
    again = consortium.begun(consortium.plan("name=again"))
    driver.carry_out(again, Hospitals(consortium, again.plan))
    assert again.state.stage == "finished", again.state.why


def test_a_drill_names_what_is_wrong_and_a_damaged_backup_makes_no_folder(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, safe, key = consortium.home, tmp_path / "safe", tmp_path / "key"
    options = ["--home", str(home.folder)]
    assert server(["drill", str(tmp_path), *options]) == 2
    assert "expected a recovery key" in capsys.readouterr().err
    run = Run.begin(home, consortium.plan(), 3600)
    plan = run.folder / "plan.json"
    whole = plan.read_bytes()
    plan.write_bytes(plan.read_bytes().replace(b'"dataset": "chest"', b'"dataset": "other"'))
    for beside in (safe / "key", home.folder / "key"):
        assert server(["backup", str(safe), "--recovery", str(beside), *options]) == 2
        assert "would lie beside what it opens" in capsys.readouterr().err
        assert not beside.exists()
    assert server(["backup", str(safe), "--recovery", str(key), *options]) == 0
    assert server(["drill", str(safe), *options]) == 1
    assert "the plans: " in capsys.readouterr().out
    plan.write_bytes(whole)
    assert server(["backup", str(safe), "--recovery", str(tmp_path / "other"), *options]) == 2
    assert "is not made again" in capsys.readouterr().err
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, room[1]))  # as on a disk that is full
    try:
        with pytest.raises(OSError, match=r"File too large: .*pilot-000002\.backup"):
            backup.write(home, safe, backup.read_key(key))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    assert [path.name for path in safe.iterdir()] == ["pilot-000001.backup"]
    for again in ([], [], ["--recovery", str(key)]):
        assert server(["backup", str(safe), "--keep", "2", *again, *options]) == 0
    assert [path.name for path in backup.backups(safe)] == ["pilot-000003.backup", "pilot-000004.backup"]
    newest = backup.backups(safe)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    command = ["restore", str(safe), "--recovery", str(key), "--home", str(tmp_path / "new")]
    assert server(command) == 2
    assert "is not what was stored" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".consilium-restore-*"))
    command[1] = str(backup.backups(safe)[0])
    assert server(command) == 0
    assert not (tmp_path / "new" / "live").exists()
    with pytest.raises(ConfigError, match="expected a recovery key, 64 hexadecimal digits"):
        backup.read_key(plan)
