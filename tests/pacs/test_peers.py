"""Archives that refuse, hang, lie or break: a study that does not arrive is named with its cause, the rest goes on."""

import json
import os
import socket
import ssl
import stat
from collections import Counter
from pathlib import Path

import pytest

from client.__main__ import main
from client.custody import importer, intake, rewriting
from client.custody.importer import ImportRequest
from client.custody.pseudonyms import Pseudonyms
from client.custody.withdrawals import Withdrawals
from client.pacs import archive, pull
from client.pacs.dicomweb import DicomWebArchive
from client.pacs.dimse import DimseArchive
from client.pacs.pacs_settings import DicomWebPacs, DimsePacs, write_one
from client.pacs.pull import PacsFeed
from client.pacs.worklist import read_worklist
from client.readers.source import ImageBytes
from common.config import Manifest
from common.errors import ConfigError, PacsError
from tests.custody.hospital import opened, tell, written
from tests.pacs.certificates import authority, context
from tests.pacs.orthanc import free_port
from tests.pacs.peers import DimsePeer, WebPeer, hospital, study, without_end, worklist

SHORT_S = 0.6
pytestmark = [
    pytest.mark.usefixtures("leftover_sockets"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(ssl.SSLSocket|socket.socket):pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def custody(tmp_path):
    return hospital(tmp_path)


@pytest.fixture
def receiver():
    return free_port()


def dimse(peer, **more):
    names = {"ae": "ARCHIVE", "host": "127.0.0.1", "port": peer.port, "our_ae": "CONSILIUM", "listen": "127.0.0.1"}
    return DimseArchive(DimsePacs(**{**names, "our_port": peer.receiver, "timeout_s": 5.0, **more}))


def web(peer, **more):
    return DicomWebArchive(DicomWebPacs(**{"url": peer.url, "timeout_s": 5.0, **more}))


def pulled(custody, archive, numbers, name="chest", **settings):
    """Import the studies of these numbers; the feed with its report, and what the import said."""
    path = worklist(custody.home.folder.parent / "list.csv", numbers)
    source = Manifest(kind="manifest", path=path)
    feed = PacsFeed(archive, "radiology", read_worklist(source, {}), patience_s=0.0, **settings)
    with archive:
        outcome = importer.run(custody, ImportRequest(feed, name))
    return feed.report, outcome


def states(report):
    return {
        entry.item.accession: (entry.state, *sorted({cause for cause, _ in entry.misses})) for entry in report.entries
    }


STUDIES = {f"A{number:03d}": study(number) for number in range(6)}
COMPLETE = ("complete",)


# --- DIMSE ----------------------------------------------------------------------------------------------------------


def test_what_an_archive_refuses_is_named_and_the_rest_comes(custody, receiver):
    with DimsePeer(STUDIES, receiver, move_status={"A001": 0xA701, "A003": 0xC123}) as peer:
        report, outcome = pulled(custody, dimse(peer), [0, 1, 2, 3, 9])
    assert states(report) == {
        "A000": COMPLETE, "A001": ("absent", "refused"), "A002": COMPLETE, "A003": ("absent", "refused"),
        "A009": ("absent", "not found"),
    }  # fmt: skip
    address = f"ARCHIVE@127.0.0.1:{peer.port}"
    assert [str(problem) for problem in outcome.problems] == [
        f"accession A001, row 3: refused: {address} refuses C-MOVE: it is out of resources (0xA701)",
        f"accession A003, row 5: refused: {address} refuses C-MOVE: it gives no reason (0xC123)",
        "accession A009, row 6: not found: radiology has no study of this accession number",
    ]
    assert outcome.added == 4


def test_an_archive_that_hangs_with_one_study_gives_the_others(custody, receiver):
    with DimsePeer(STUDIES, receiver, hang={"A001"}) as peer:
        report, _ = pulled(custody, dimse(peer, timeout_s=SHORT_S), [0, 1, 2])
    assert states(report) == {"A000": COMPLETE, "A001": ("absent", "timed out"), "A002": COMPLETE}


def test_half_a_study_is_kept_and_named_and_only_the_rest_is_pulled_later(custody, receiver):
    with DimsePeer(STUDIES, receiver, change=lambda accession, objects: objects[:1]) as peer:
        report, outcome = pulled(custody, dimse(peer), [0])
        assert states(report) == {"A000": ("incomplete", "half")}
        assert (outcome.added, "1 of 2 images of a series did not arrive" in str(outcome.problems[0])) == (1, True)
    sent = []

    def whole(accession, objects):
        sent.append(len(objects))
        return objects

    with DimsePeer(STUDIES, receiver, change=whole) as peer:
        report, outcome = pulled(custody, dimse(peer), [0])
        assert (states(report), outcome.added, outcome.already) == ({"A000": COMPLETE}, 1, 1)
        report, outcome = pulled(custody, dimse(peer), [0])
        assert (states(report), outcome.added, outcome.already) == ({"A000": COMPLETE}, 0, 2)
        assert peer.moves == ["A000"]


def test_objects_of_another_study_and_damaged_ones_do_not_come_in(custody, receiver):
    changes = {"A000": lambda objects: STUDIES["A005"], "A001": lambda objects: [objects[0], without_end(objects[1])]}
    with DimsePeer(STUDIES, receiver, change=lambda name, objects: changes.get(name, lambda o: o)(objects)) as peer:
        report, outcome = pulled(custody, dimse(peer), [0, 1, 2])
    assert states(report) == {
        "A000": ("absent", "wrong object"), "A001": ("incomplete", "damaged"), "A002": COMPLETE,
    }  # fmt: skip
    assert outcome.added == 3


def test_who_is_not_on_the_list_sends_nothing(custody, receiver):
    with DimsePeer(STUDIES, receiver, sender="STRANGER") as peer:
        report, _ = pulled(custody, dimse(peer), [0])
        assert states(report) == {"A000": ("absent", "refused")}
        report, _ = pulled(custody, dimse(peer, senders=("STRANGER",)), [0])
        assert states(report) == {"A000": COMPLETE}


def test_a_wrong_ae_title_and_a_port_where_nobody_is_end_the_command(custody, receiver):
    with DimsePeer(STUDIES, receiver) as peer:
        with pytest.raises(PacsError, match=r"refuses a connection.*is OTHER its own AE title") as refusal:
            pulled(custody, dimse(peer, ae="OTHER"), [0])
        assert refusal.value.cause == "refused"
        with pytest.raises(PacsError, match="cannot be reached") as refusal:
            pulled(custody, dimse(peer, port=free_port()), [0])
        assert refusal.value.cause == "unreachable"


def test_an_archive_that_is_gone_in_the_middle_leaves_all_others_named(custody, receiver):
    def leave(accession, objects):
        if accession == "A001":
            peer.leave()
        return objects

    with DimsePeer(STUDIES, receiver, change=leave) as peer:
        report, outcome = pulled(custody, dimse(peer, timeout_s=2.0), [0, 1, 2, 3])
    told = states(report)
    assert told.pop("A000") == COMPLETE
    assert {causes[-1] for causes in told.values()} == {"unreachable"}
    assert len(outcome.problems) == 3


def test_over_tls_with_both_certificates_and_not_with_another(custody, receiver, tmp_path):
    ours, theirs = authority(tmp_path / "ours"), authority(tmp_path / "theirs")
    tls = (context(ours, server=True), context(ours))
    files = {"host": "localhost", "tls_cert": ours.certificate, "tls_key": ours.key}
    with DimsePeer(STUDIES, receiver, tls=tls) as peer:
        report, _ = pulled(custody, dimse(peer, tls_ca=ours.root, **files), [0])
        assert states(report) == {"A000": COMPLETE}
        with pytest.raises(PacsError, match="its certificate is not one that is trusted here") as refusal:
            pulled(custody, dimse(peer, tls_ca=theirs.root, **files), [1])
        assert refusal.value.cause == "certificate"
    silent = []

    def keep_silent(accession, objects):
        silent.append(socket.create_connection(("127.0.0.1", receiver), 5))
        return objects

    with DimsePeer(STUDIES, receiver, tls=tls, change=keep_silent) as peer:
        report, _ = pulled(custody, dimse(peer, tls_ca=ours.root, timeout_s=4.0, **files), [2])
        assert states(report)["A002"][0] == "complete"
        silent[0].close()
    stranger = (tls[0], context(theirs, trust=ours))
    with DimsePeer(STUDIES, receiver, tls=stranger) as peer:
        report, _ = pulled(custody, dimse(peer, tls_ca=ours.root, **files), [1])
        assert states(report) == {"A001": ("absent", "refused")}


# --- DICOMweb -------------------------------------------------------------------------------------------------------


def answers(peer, handler, accession):
    """One misbehaviour for each study; A000 and A005 come."""
    objects = peer.wanted(handler.path)
    others = [written(one) for one in STUDIES["A005"]]
    if accession == "A001":
        peer.send(handler, 403, "text/plain", b"")
    elif accession == "A002":
        peer.over.wait(20)
    elif accession == "A003":
        peer.send_objects(handler, objects, cut=len(objects[0]) + 300 * (len(objects) - 1))
    elif accession == "A004":
        peer.send_objects(handler, [others[0], b"no DICOM at all"])
    else:
        return False
    return True


def test_each_misbehaviour_of_a_web_archive_is_named_and_the_rest_comes(custody):
    with WebPeer(STUDIES, answers) as peer:
        report, outcome = pulled(custody, web(peer, timeout_s=SHORT_S), range(6))
    told = states(report)
    assert told == {
        "A000": COMPLETE, "A001": ("absent", "refused"), "A002": ("absent", "timed out"),
        "A003": ("incomplete", "half"), "A004": ("absent", "damaged", "half", "wrong object"), "A005": COMPLETE,
    }  # fmt: skip
    assert outcome.added == 5


def test_an_answer_without_end_is_cut_off(custody, monkeypatch):
    monkeypatch.setattr(pull, "STRANGERS", 3)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 2000)
    others = [written(STUDIES["A005"][0])] * 20
    rounds = []

    def without_end(handler):
        if "offset" not in handler.path or "A003" not in handler.path:
            return False
        rounds.append(handler.path)
        entries = [{"0020000D": {"vr": "UI", "Value": [f"1.{len(rounds)}.{i}"]}} for i in range(500)]
        peer.send(handler, 200, "application/dicom+json", json.dumps(entries).encode())
        return True

    def strangers(peer, handler, accession):
        if accession == "A001":
            peer.send_objects(handler, others)
        return accession == "A001"

    with WebPeer(STUDIES, strangers, without_end) as peer:
        report, _ = pulled(custody, web(peer), [0, 1, 2, 3])
    assert states(report) == {
        "A000": COMPLETE, "A001": ("absent", "wrong object"), "A002": COMPLETE, "A003": ("absent", "damaged"),
    }  # fmt: skip
    assert len(rounds) == 5


def test_a_study_that_is_listed_without_its_series_is_named(custody):
    def without_series(handler):
        is_series = "/series?" in handler.path
        if is_series:
            peer.send(handler, 200, "application/dicom+json", b"[]")
        return is_series

    with WebPeer(STUDIES, query=without_series) as peer:
        report, _ = pulled(custody, web(peer), [0])
    assert states(report) == {"A000": ("absent", "half")}


@pytest.mark.parametrize(
    ("status", "kind", "content", "cause"),
    [
        (401, "text/plain", b"", "refused"),
        (302, "text/plain", b"", "refused"),
        (200, "text/html", b"<html>please log in</html>", "damaged"),
        (200, "application/dicom+json", b'{"a": 1}', "damaged"),
        (200, "application/dicom+json", b"[" * 100_000, "damaged"),
        (503, "text/plain", b"", "refused"),
    ],
)
def test_a_web_archive_that_answers_something_else_ends_the_command(custody, status, kind, content, cause):
    def other(handler):
        peer.send(handler, status, kind, content)
        return True

    with WebPeer(STUDIES, query=other) as peer:
        with pytest.raises(PacsError) as refusal:
            pulled(custody, web(peer), [0])
        assert refusal.value.cause == cause


def test_a_web_archive_with_the_right_token_and_certificate_and_not_with_others(custody, tmp_path):
    ours, theirs = authority(tmp_path / "ours"), authority(tmp_path / "theirs")
    token = tmp_path / "token"
    token.write_text("right\n", encoding="utf-8")
    token.chmod(0o600)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(ours.certificate, ours.key)
    with WebPeer(STUDIES, token="right", tls=server) as peer:  # noqa: S106
        report, _ = pulled(custody, web(peer, tls_ca=ours.root, token_file=token), [0])
        assert states(report) == {"A000": COMPLETE}
        for more, cause in (({"tls_ca": theirs.root}, "certificate"), ({"tls_ca": ours.root}, "refused")):
            with pytest.raises(PacsError) as refusal:
                pulled(custody, web(peer, **more), [1])
            assert refusal.value.cause == cause
        token.chmod(0o640)
        with pytest.raises(ConfigError, match="others can read it"):
            web(peer, token_file=token)


# --- both -----------------------------------------------------------------------------------------------------------


def test_burned_in_and_labels_that_contradict_custody_are_named(custody, receiver):
    studies = {**STUDIES, "A001": study(1, BurnedInAnnotation="YES")}
    with DimsePeer(studies, receiver) as peer:
        report, outcome = pulled(custody, dimse(peer), [0, 1])
        assert states(report) == {"A000": COMPLETE, "A001": ("absent", "burned-in")}
        path = custody.home.folder.parent / "other.csv"
        path.write_text("accession,label\nA000,ill\n", encoding="utf-8")
        feed = PacsFeed(dimse(peer), "radiology", read_worklist(Manifest(kind="manifest", path=path), {}))
        with feed.archive:
            outcome = importer.run(custody, ImportRequest(feed, "chest"))
    assert states(feed.report) == {"A000": ("incomplete", "label")}
    assert "label 'well' and not 'ill'" in str(outcome.problems[0])


def test_the_same_images_come_once_whichever_way(custody, receiver):
    with DimsePeer(STUDIES, receiver) as peer, WebPeer(STUDIES) as other:
        _, first = pulled(custody, dimse(peer), [0, 1])
        _, second = pulled(custody, web(other), [0, 1, 2])
    assert (first.added, second.added, second.already) == (4, 2, 4)
    assert other.pulls == ["A002"]


def test_a_patient_who_withdrew_is_not_pulled_again(custody, receiver):
    with DimsePeer(STUDIES, receiver) as peer:
        pulled(custody, dimse(peer), [0, 1])
        store = opened(custody)
        pseudonym = Pseudonyms(store.secrets.pseudonyms).patient("P-1")
        sources = [intake.source_of(store, ImageBytes(Path(), b"", one.SOPInstanceUID)) for one in STUDIES["A001"]]
        rewriting.rewrite(custody, store.folder, lambda store: [store.index.numbers[source] for source in sources])
        Withdrawals(store).add({pseudonym: sources})
        report, outcome = pulled(custody, dimse(peer), [0, 1])
        assert states(report) == {"A000": COMPLETE, "A001": ("withdrawn",)}
        assert (outcome.added, outcome.withdrawals, peer.moves) == (0, 2, ["A000", "A001"])


def test_nothing_of_it_lies_on_the_disk_in_the_clear(custody, receiver, tmp_path):
    numbers = range(4)
    with DimsePeer(STUDIES, receiver) as peer:
        pulled(custody, dimse(peer), numbers)
    pixels = [one.PixelData for number in numbers for one in STUDIES[f"A{number:03d}"]]
    searched = 0
    for place, _, names in os.walk(tmp_path):
        for name in names:
            content = (Path(place) / name).read_bytes()
            searched += 1
            assert not [1 for each in pixels if each[:64] in content]
            assert b"Sousa" not in content
    assert searched > 5
    contents, cases = tell(custody)
    assert sorted(case.label for case in cases) == ["ill"] * 4 + ["well"] * 4
    assert all(b"Sousa" not in content and b"A001" not in content for content in contents)


def test_a_pause_finishes_and_commits_what_is_under_way(custody, receiver):
    class Pace:
        def pause_s(self):
            return 100.0

    waits = []

    def wait(pause_s):
        waits.append((pause_s, len(tell(custody)[1]) if (custody.sets / "chest" / "keys").exists() else 0))

    with DimsePeer(STUDIES, receiver) as peer:
        pulled(custody, dimse(peer), [0, 1, 2], pace=Pace(), wait=wait)
    assert waits == [(100.0, 0), (100.0, 2), (100.0, 4)]


def test_the_report_is_for_its_owner(custody, receiver, tmp_path, monkeypatch, capsys):
    from client.__main__ import main

    monkeypatch.chdir(tmp_path)
    with DimsePeer(STUDIES, receiver, move_status={"A001": 0xA701}) as peer:
        add = ["--ae", "ARCHIVE", "--host", "127.0.0.1", "--port", peer.port, "--our-ae", "CONSILIUM", "--our-port"]
        assert main(["pacs", "add", "radiology", *map(str, add), str(receiver), "--listen", "127.0.0.1"]) == 0
        assert main(["pacs", "test", "radiology"]) == 0
        assert main(["pacs", "find", "radiology", "--modality", "CR", "--body-part", "CHEST"]) == 0
        assert "6 studies; 12 images; 6 CR; 6 2024." in capsys.readouterr().out
        worklist(tmp_path / "list.csv", range(3), "A777,ill")
        assert main(["pacs", "find", "radiology", "--worklist", "list.csv"]) == 1
        assert "row 5: accession A777: not found" in capsys.readouterr().out
        command = ["import", "--from-pacs", "radiology", "--worklist", "list.csv", "--name", "chest"]
        assert main([*command, "--processes", "1", "--patience", "0"]) == 1
    told = capsys.readouterr().out
    assert "studies: 2 complete, 2 absent (causes: 1 refused, 1 not found)." in told
    report = tmp_path / "list.csv.report.csv"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    lines = report.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["row,accession,state,images,stored,causes,what", "2,A000,complete,2,2,,"]
    assert lines[2].startswith("3,A001,absent,2,0,refused,")
    log = "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "site" / "audit").rglob("*") if path.is_file()
    )
    assert "left out" in log
    assert "A001" not in log


def test_labels_are_corrected_by_accession_number_as_they_came(custody, receiver, tmp_path, capsys):
    folder, table = custody.home.folder, tmp_path / "wrong.csv"
    with DimsePeer(STUDIES, receiver) as peer:
        archive = dimse(peer)
        pulled(custody, archive, [0, 1, 2])
        write_one(folder, "radiology", archive.settings)
        words = ["patients", "relabel", str(table), "--name", "chest", "--home", str(folder)]
        table.write_text("accession,was,label\nA000,well,ill\nA001,ill,well\n", encoding="utf-8")
        assert main(words) == 2
        assert "Name the archive: --from-pacs" in capsys.readouterr().err
        assert main([*words, "--from-pacs", "radiology"]) == 0
        assert "4 cases have another label, by 2 rows" in capsys.readouterr().out
        labels = Counter(case.label for case in opened(custody).index.cases)
        assert labels == {"ill": 2, "well": 4}
        rows = ["A002,ill,well", "A9,well,ill", "A00*,well,ill", "1.2E+05,well,ill"]
        table.write_text("\n".join(["accession,was,label", *rows]) + "\n", encoding="utf-8")
        assert main([*words, "--from-pacs", "radiology"]) == 2
        said = capsys.readouterr().err
        for text in ("row 3: radiology has no study", "row 4: accession 'A00*'", "row 5: accession", "Nothing was"):
            assert text in said
        table.write_text("accession,was,label\nA002,ill,well\n", encoding="utf-8")
        assert main([*words, "--from-pacs", "radiology"]) == 2
        assert "was is 'ill', and chest has 'well'" in capsys.readouterr().err
    assert Counter(case.label for case in opened(custody).index.cases) == labels
