"""What somebody of the group, or whoever may write where a person's files lie, cannot do at a site's door."""

import ctypes
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from client.access import door_messages, doorkeeper, handed_file, people, refusal_notes
from client.access.loan_desk import refuse_others_links
from client.access.named_files import NamedFile
from client.custody import import_workers
from client.memory_guard import guard_process
from common.errors import AccessError
from tests.access.accounts import ANA
from tests.access.doors import open_door
from tests.access.staff import Site
from tests.access.test_door import Caller, desk, question, refusals, request
from tests.admitted import home_of
from tests.tally import TRIED

GET_DUMPABLE = 3
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED LOUDLY: only root makes another user's link")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    made = Site(tmp_path)
    made.of_each_role()
    return made


# --- links ----------------------------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("link", ["export/scan.png", "export/ill", "export"])
def test_a_link_that_another_user_put_there_opens_and_writes_nothing(site: Site, tmp_path: Path, link: str) -> None:
    (tmp_path / "ana/ill").mkdir(parents=True)
    for name in ("scan.png", "ill/scan.png"):
        (tmp_path / "ana" / name).write_bytes(b"her own")
    (tmp_path / link).parent.mkdir(exist_ok=True)
    target = tmp_path / "ana" / Path(link).relative_to("export")
    (tmp_path / link).symlink_to(target)
    os.lchown(tmp_path / link, ANA, ANA)
    folder = str(tmp_path / "export")
    there = desk(site, ["import", "export", "--name", "x"], NamedFile("source", "beneath", folder))
    out = desk(site, ["custody", "list"], NamedFile("out", "write", folder))
    inside = tmp_path / link / ("" if target.is_file() else "scan.png")
    for what in ("open", "stat", "names"):
        reply = question(there, {"what": what, "path": str(inside), "from": 0})
        assert f"user {ANA} put a link" in reply["error"]
    content, _ = handed_file.hold(b"evil")
    reply = question(out, {"what": "write", "path": str(inside), "mode": 0o644, "anew": False}, [content])
    assert f"user {ANA} put a link" in reply["error"]
    os.close(content)
    assert inside.read_bytes() == b"her own"
    with pytest.raises(AccessError, match="put a link"):  # a file that is handed in as a whole
        refuse_others_links(str(tmp_path / link), str(tmp_path / link))
    os.lchown(tmp_path / link, os.geteuid(), os.getegid())
    assert question(there, {"what": "open", "path": str(inside)}) == {}  # one's own leads where one wants
    TRIED["links of another user at a site's door, refused"] += 5


# --- a log that never shrinks ---------------------------------------------------------------------------------------


def test_who_is_refused_again_and_again_fills_no_log_and_is_in_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.key("unknown")
    with open_door(site):
        before, tries = len(site.entries()), 30

        def knock(number: int) -> None:
            caller = Caller(site)
            by = ("unknown", "researcher", "researcher")[number % 3]
            action = ("custody destroy", "custody destroy", "custody rotate")[number % 3]
            caller.ask(request(site, caller.hello["challenge"], by=by, action=action))
            caller.connection.close()
            wrong = Caller(site)
            wrong.ask(request(site, "0" * 64, action=f"a row {number}"))  # a row of its own each time
            wrong.connection.close()
            stranger = Caller(site)
            stranger.ask({"nothing": number})
            stranger.connection.close()

        for number in range(tries):
            knock(number)
        kinds = refusals(site)
        each = {kind: kinds.count(kind) for kind in kinds}
        most = refusal_notes.MOST
        assert each == {"unknown key": most, "not their role": 2 * most, "no row": most, "no command": most}
        assert len(site.entries()) - before == 5 * most
        monkeypatch.setattr(refusal_notes, "HOUR_S", 0.0)  # an hour later
        knock(0)
        left_out = [entry.facts["left out"] for entry in site.entries() if "left out" in entry.facts]
        assert left_out == [tries // 3 - most, tries - most, tries - most]
    TRIED["refusals that were to fill a site's log"] += 3 * tries


def test_the_door_stays_open_where_there_is_no_room_for_a_thread(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with open_door(site) as opened:
        with monkeypatch.context() as full:
            full.setattr(doorkeeper.threading, "Thread", Full)
            for _ in range(doorkeeper.MOST_OF_ONE + 1):
                with pytest.raises((EOFError, OSError)):
                    Caller(site)
        assert opened.give("access", "show", by="researcher").status == 0


# --- memory ---------------------------------------------------------------------------------------------------------


def shut() -> bool:
    """Whether this process leaves no core dump, and is closed to debuggers of its own user."""
    return (ctypes.CDLL(None).prctl(GET_DUMPABLE), *resource.getrlimit(resource.RLIMIT_CORE)) == (0, 0, 0)


def opened_again() -> None:
    """As a process begins."""
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


@pytest.mark.parametrize("opening", ["a person's key", "a site's", "the service"])
def test_every_process_that_opens_a_key_shuts_its_memory(site: Site, opening: str) -> None:
    ways: dict[str, Callable[[], object]] = {
        "a person's key": lambda: people.open_key(site.file("founder")),
        "a site's": lambda: home_of(site.folder / "site"),
        "the service": guard_process,
    }
    if (child := os.fork()) == 0:
        opened_again()
        was_open = not shut()
        ways[opening]()
        os._exit(0 if was_open and shut() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_process_that_images_are_sealed_in_shuts_its_memory() -> None:
    with import_workers._pool(1) as pool:
        assert pool.submit(shut).result(timeout=60)


def test_another_s_connection_answers_nothing_of_a_site_that_is_not_theirs(site: Site, tmp_path: Path) -> None:
    """Somebody's own folder with a door of their own, that hands on what the real door asks: another user knocks."""
    with open_door(site):
        real = Caller(site)
        theirs = request(site, real.hello["challenge"], uid=os.geteuid() + 1)
        assert "another system user" in real.ask(theirs)["error"]
    assert door_messages.NAME not in {path.name for path in site.home.folder.iterdir()}
