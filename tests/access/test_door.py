"""What comes to a site's door: only a command that a person of the policy signed for it, just now, is carried out."""

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.access import door, door_messages, doorkeeper, handed_file
from client.access.command_request import CommandRequest, new_challenge
from client.access.loan_desk import LoanDesk
from client.access.named_files import NamedFile, lend_all, named_files
from client.admission import Admission
from client.home import Home, SiteFolder
from client.memory_guard import guard_process
from common.errors import AccessError
from common.storage.lent_path import lent_path
from tests.access.doors import OpenDoor, open_door, parsed
from tests.access.staff import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    made = Site(tmp_path)
    made.of_each_role()
    made.key("unknown")
    return made


@pytest.fixture
def opened(site: Site) -> Iterator[OpenDoor]:
    with open_door(site) as made:
        yield made


CONNECTIONS: list[socket.socket] = []


@pytest.fixture(autouse=True)
def closed_connections() -> Iterator[None]:
    yield
    while CONNECTIONS:
        CONNECTIONS.pop().close()


class Caller:
    """A program of somebody's own at the door."""

    def __init__(self, site: Site) -> None:
        handle = os.open(site.home.folder, os.O_PATH)
        self.connection = door_messages.new_socket()
        CONNECTIONS.append(self.connection)
        self.connection.settimeout(20)
        self.connection.connect(door_messages.address(handle))
        os.close(handle)
        self.hello = self.hear()

    def hear(self) -> dict[str, Any]:
        tree, handles = door_messages.receive(self.connection)
        door_messages.close(handles)
        return tree

    def ask(self, request: CommandRequest | dict[str, Any], streams: int = 4) -> dict[str, Any]:
        """What the door says to this."""
        tree = request.to_json() if isinstance(request, CommandRequest) else request
        null = os.open(os.devnull, os.O_RDWR)
        try:
            door_messages.send(self.connection, {"command": tree, "folder": "/"}, [null] * streams)
            return self.hear()
        finally:
            os.close(null)


def request(site: Site, challenge: str, by: str = "data-officer", **more: Any) -> CommandRequest:
    facts = {"site": "lisbon", "action": "custody list", "words": ["custody", "list"], "uid": os.geteuid(), **more}
    return CommandRequest.make(
        facts["site"], facts["action"], facts["words"], {}, facts["uid"], challenge, site.key(by)
    )  # fmt: skip


def refusals(site: Site) -> list[str]:
    return [str(entry.facts["refused"]) for entry in site.entries() if "refused" in entry.facts]


def test_a_command_that_was_signed_goes_through(opened: OpenDoor) -> None:
    assert opened.give("access", "show", by="researcher").status == 0


def test_a_challenge_counts_once_and_at_its_own_connection(opened: OpenDoor, site: Site) -> None:
    first, second = Caller(site), Caller(site)
    captured = request(site, first.hello["challenge"], action="nothing")
    assert "no role may do this" in first.ask(captured)["error"]
    for challenge in (first.hello["challenge"], new_challenge(), ""):
        assert "another challenge" in Caller(site).ask(request(site, challenge))["error"]
    replayed = request(site, first.hello["challenge"])
    assert "another challenge" in second.ask(replayed)["error"]
    assert refusals(site) == ["no row", *["no signature"] * 4]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"words": ("custody", "destroy", "chest", "--really", "chest")}, "signature is not"),
        ({"action": "custody destroy"}, "signature is not"),
        ({"files": {"/etc/passwd": "0" * 64}}, "streams and files"),
        ({"signature": b"\0" * 64}, "signature is not"),
        ({"uid": 4242}, "another system user"),
        ({"site": "porto"}, "another site"),
    ],
)
def test_what_is_changed_after_it_was_signed_is_refused_and_in_the_log(
    opened: OpenDoor, site: Site, change: dict[str, Any], what: str
) -> None:
    caller = Caller(site)
    assert what in caller.ask(replace(request(site, caller.hello["challenge"]), **change))["error"]
    assert refusals(site)[-1] in ("no signature", "no command")


def test_a_signature_of_somebody_else_is_not_the_officer_s(opened: OpenDoor, site: Site) -> None:
    caller = Caller(site)
    forged = replace(request(site, caller.hello["challenge"], by="auditor"), public=site.key("data-officer").public)
    assert "signature is not" in caller.ask(forged)["error"]
    for name, reason in (("unknown", "unknown key"), ("revoked", "unknown key"), ("expired", "not their time")):
        caller = Caller(site)
        assert "error" in caller.ask(request(site, caller.hello["challenge"], by=name))
        assert refusals(site)[-1] == reason


@pytest.mark.parametrize(
    "frame",
    [b"\0", b"{", b"[]", b"null", b"[" * 40_000, b"{" + b'"a":{' * 9_000, b"x" * door_messages.MOST_BYTES,
     b'{"command": {"words": 1}}', b'{"command": {"words": [1], "files": [], "uid": true}}', os.urandom(200)],
)  # fmt: skip
def test_what_is_no_message_is_refused_and_the_door_stays_open(opened: OpenDoor, site: Site, frame: bytes) -> None:
    caller = Caller(site)
    caller.connection.send(frame)
    assert "error" in caller.hear()
    assert refusals(site) == ["no command"]
    caller = Caller(site)
    assert "error" in caller.ask(request(site, caller.hello["challenge"], action="nothing"))


def test_who_is_slow_or_leaves_keeps_nobody_waiting(
    opened: OpenDoor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "ANSWER_S", 3.0)
    slow = [Caller(site) for _ in range(doorkeeper.MOST_OF_ONE)]
    with pytest.raises((AssertionError, KeyError, EOFError)):
        assert "challenge" in Caller(site).hello
    slow[0].connection.close()
    assert "nothing was asked in time" in slow[1].hear()["error"]
    deadline_s = time.monotonic() + 20
    while "challenge" not in (hello := Caller(site).hello) and time.monotonic() < deadline_s:
        pass
    assert "challenge" in hello


def test_the_door_outlives_the_lack_of_descriptors(opened: OpenDoor, site: Site) -> None:
    limits, handle = resource.getrlimit(resource.RLIMIT_NOFILE), os.open(site.home.folder, os.O_PATH)
    in_vain = door_messages.new_socket()
    CONNECTIONS.append(in_vain)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, limits[1]))
    taken: list[int] = []
    try:
        with suppress(OSError):  # until there are too many
            while True:
                taken.append(os.dup(handle))
        assert taken
        in_vain.connect(door_messages.address(handle))  # and nobody can be let in
        time.sleep(2 * doorkeeper.FULL_S)
    finally:
        door_messages.close([*taken, handle])
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "challenge" in Caller(site).hello


def test_a_report_is_written_beside_the_worklist_that_was_lent(tmp_path: Path) -> None:
    options = parsed(["import", "--from-pacs", "radiology", "--worklist", "list.csv", "--name", "chest"])
    wanted = next(file.path for file in named_files(options, str(tmp_path)) if file.option == "report")
    lend_all(options, "ana", str(tmp_path), ())
    assert wanted == f"{tmp_path}/list.csv.report.csv" == options.report.lent_name


def test_a_file_that_could_still_be_changed_is_not_taken(opened: OpenDoor, site: Site, tmp_path: Path) -> None:
    (tmp_path / "open").write_bytes(b"x")
    handle = os.open(tmp_path / "open", os.O_RDONLY)
    with pytest.raises(AccessError, match="could be changed"):
        handed_file.demand_sealed(handle)
    sealed, digest = handed_file.hold(b"as it was")
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(sealed, b"X", 0)
    with pytest.raises(AccessError, match="not the one that was signed"):
        handed_file.demand(sealed, "0" * 64)
    handed_file.demand(sealed, digest)
    for each in (handle, sealed):
        os.close(each)


def desk(site: Site, words: list[str], *files: NamedFile) -> LoanDesk:
    options = parsed([*words, "--home", str(site.home.folder)])
    return LoanDesk(request(site, "", action=" ".join(words[:2])), files, site.key("data-officer"), options)


def question(desk: LoanDesk, tree: dict[str, Any], handles: list[int] | None = None) -> dict[str, Any]:
    own, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, workers:
        door_messages.send(workers, tree, handles or [])
        assert desk.answer(own)
        reply, received = door_messages.receive(workers)
        door_messages.close(received)
        return reply


def test_the_person_s_process_opens_and_writes_what_the_command_names_and_no_more(site: Site, tmp_path: Path) -> None:
    (tmp_path / "export" / "ill").mkdir(parents=True)
    (tmp_path / "export" / "ill" / "1.png").write_bytes(b"image")
    (tmp_path / "diary").write_bytes(b"secret")
    there = desk(site, ["import", "export", "--name", "x"], NamedFile("source", "beneath", str(tmp_path / "export")))
    assert question(there, {"what": "names", "path": str(tmp_path / "export"), "from": 0})["names"] == ["ill"]
    assert question(there, {"what": "open", "path": str(tmp_path / "export/ill/1.png")}) == {}
    for path in ("diary", "export/../diary", "export2", "."):
        for what in ("open", "names", "stat"):
            assert "names neither" in question(there, {"what": what, "path": str(tmp_path / path), "from": 0})["error"]
    content, _ = handed_file.hold(b"evil")
    order = {"what": "write", "path": str(tmp_path / "export/ill/1.png"), "mode": 0o644, "anew": False}
    assert "names neither" in question(there, order, [content])["error"]
    os.close(content)
    assert (tmp_path / "export" / "ill" / "1.png").read_bytes() == b"image"


def test_the_person_s_process_signs_what_was_asked_for_and_no_more(site: Site) -> None:
    act = {"site": "lisbon", "what": "custody list", "outcome": "done", "plan": "", "dataset": "", "facts": {}}
    there = desk(site, ["custody", "list"])
    assert "signature" in question(there, {"what": "sign", "kind": "act", "content": act})
    policy = site.content(site.member("mallory", "data-officer"))
    before = site.sign(site.content(), "founder").document.encode().hex()
    assert "not asked for" in question(there, {"what": "sign", "kind": "act", "content": act})["error"]  # a second one
    approve = desk(site, ["approve", "mine"])
    for plan, is_signed in (("other-1a2b", False), ("mine-1a2b", True)):
        order = {"what": "sign", "kind": "act", "content": act | {"what": "approve", "plan": plan}}
        approve._request = replace(approve._request, action="approve")
        assert ("signature" in question(approve, order)) is is_signed
    there = desk(site, ["custody", "list"])
    for kind, content in (
        ("act", act | {"what": "approve"}), ("act", act | {"site": "porto"}), ("command", act),
        ("policy", policy.to_json()), ("cosign", act), ("policy", {}),
    ):  # fmt: skip
        order = {"what": "sign", "kind": kind, "content": content, "before": before}
        assert "error" in question(there, order)
    propose = desk(site, ["access", "propose", "--purposes", "audit"])
    order = {"what": "sign", "kind": "policy", "content": policy.to_json(), "before": before}
    assert "not asked for" in question(propose, order)["error"]
    sign = desk(site, ["access", "sign", "f" * 8])
    assert "not asked for" in question(sign, order)["error"]


def test_ctrl_c_ends_the_command_and_not_the_door(opened: OpenDoor, site: Site) -> None:
    caller = Caller(site)
    wait = request(site, caller.hello["challenge"], action="approve", words=["approve", "gone"])
    null, out = os.open(os.devnull, os.O_RDWR), os.memfd_create("out")
    channel, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    CONNECTIONS.extend((channel, workers))
    handles = [null, out, out, workers.fileno()]
    door_messages.send(caller.connection, {"command": wait.to_json(), "folder": "/"}, handles)
    deadline_s = time.monotonic() + 60
    while b"Trying for a minute" not in os.pread(out, 1 << 16, 0) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    door_messages.send(caller.connection, {"interrupt": True})
    caller.connection.settimeout(60)
    assert caller.hear() == {"status": 130}
    assert b"Traceback" not in os.pread(out, 1 << 16, 0)
    door_messages.close([null, out])
    assert "error" in Caller(site).ask({})


def test_a_lent_path_leads_nowhere_but_to_its_owner(tmp_path: Path) -> None:
    path = lent_path("ana", "/etc/hostname")
    assert not Path(str(path)).exists()
    for use in (open, os.stat, os.open, lambda p: Path(str(p)).read_bytes()):
        with pytest.raises((AccessError, TypeError, OSError)):
            use(path)  # type: ignore[operator]
    with pytest.raises(AccessError, match="nobody's who came"):
        path.read_bytes()
    with pytest.raises(AccessError, match="as a whole"):
        path.open("w")


def test_no_key_opens_without_an_admission_of_the_gate_for_this_site(site: Site, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="no gate made"):
        Admission(site.home.folder, "approve", "mallory", "data-officer", 1, 0)
    with pytest.raises(TypeError):
        Home(site.home.folder)  # type: ignore[call-arg]
    with pytest.raises(AccessError, match="another site's folder"):
        Home(tmp_path, site.home.admission)
    assert not hasattr(SiteFolder(site.home.folder), "identity")


def test_only_the_gate_makes_admissions() -> None:
    root = Path(__file__).parents[2]
    makers = {
        str(path.relative_to(root))
        for room in ("client", "server", "common", "simulation") for path in (root / room).rglob("*.py")
        if "Admission.grant" in path.read_text(encoding="utf-8")
    }  # fmt: skip
    assert makers == {"client/admission.py", "client/access/gate.py"}


def test_a_folder_with_a_long_name_has_a_door(tmp_path: Path) -> None:
    place = tmp_path / ("ward " * 20).strip() / ("b" * 100)
    place.mkdir(parents=True)
    site = Site(place)
    assert len(str(site.home.folder)) > 200
    with open_door(site) as opened:
        assert opened.give("access", "show", by="founder").status == 0


def test_nothing_but_the_door_is_for_the_group(site: Site) -> None:
    site.home.folder.chmod(0o750)
    (site.home.folder / "site.yaml").chmod(0o644)
    with open_door(site):
        assert (site.home.folder / "door").stat().st_mode & 0o777 == 0o660
        modes = {path.name: path.stat().st_mode & 0o077 for path in site.home.folder.iterdir() if path.name != "door"}
        assert not any(modes.values()), modes
        assert site.home.folder.stat().st_mode & 0o777 == 0o710
        with pytest.raises(AccessError, match="another process answers"), open_door(site):
            pass
    assert not (site.home.folder / "door").exists()
    with pytest.raises(AccessError, match="nobody is at its door"):
        door.ask(site.home.folder, ["plans"], "plans", site.key("founder"))


def test_a_process_with_keys_leaves_no_core_dump() -> None:
    if (child := os.fork()) == 0:
        guard_process()
        is_closed = Path(f"/proc/{os.getpid()}/status").stat() and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        os._exit(0 if is_closed else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_command_that_is_about_the_machine_is_not_for_the_door(opened: OpenDoor) -> None:
    reply = opened.give("backup", "list", "disk", by="operator")
    assert (reply.status, "account that the site runs under" in reply.errors) == (2, True), reply
