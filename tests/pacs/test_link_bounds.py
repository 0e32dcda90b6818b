"""A machine that goes down at a bad moment holds no command: every wait for it ends, and says what it was."""

import socket
import threading
import time

import pytest
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_MOVE

from client.pacs import dimse, link_bounds
from client.pacs.archive import StudyQuery
from client.pacs.dimse import DimseArchive
from client.pacs.pacs_settings import DimsePacs
from client.pacs.store_receiver import StoreReceiver
from common.errors import PacsError
from tests.pacs.orthanc import free_port
from tests.pacs.peers import MOVE, DeadLine, DimsePeer, study

TIMEOUT_S, BOUND_S = 0.4, 30.0
STUDIES = {"A000": study(0)}
pytestmark = [
    pytest.mark.usefixtures("leftover_sockets"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
    # a thread of pynetdicom that is asked to abort in a state without an abort ends with an error
    pytest.mark.filterwarnings("ignore:Exception in thread .*run_reactor:pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _little_grace(monkeypatch):
    monkeypatch.setattr(link_bounds, "GRACE_S", 0.2)


def settings(port: int, receiver: int) -> DimsePacs:
    return DimsePacs(
        ae="ARCHIVE", host="127.0.0.1", port=port, our_ae="CONSILIUM", our_port=receiver, listen="127.0.0.1",
        timeout_s=TIMEOUT_S,
    )  # fmt: skip


def within_bound(work):
    """What it returned or raised; a thread of its own is waited for, so that no hang holds the tests."""
    came = list[object]()

    def run() -> None:
        try:
            came.append(work())
        except PacsError as error:
            came.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(BOUND_S)
    assert came, "it waits without a bound"
    return came[0]


def all_objects(port: int, receiver: int) -> int:
    with DimseArchive(settings(port, receiver)) as archive:
        archive.test()
        (one,) = archive.studies(StudyQuery("A000"))
        (series,) = archive.series(one.uid)
        return len(list(archive.retrieve(one.uid, series.uid, frozenset(archive.images(one.uid, series.uid)), True)))


@pytest.mark.parametrize("passes", [5, 404, 591, 1055, 2914])
def test_half_of_an_answer_and_no_more_is_given_up(passes):
    """In the answer to a connection, to C-ECHO and to C-FIND."""
    with DimsePeer(STUDIES, free_port()) as peer, DeadLine(peer.port, passes) as line:
        error = within_bound(lambda: all_objects(line.port, peer.receiver))
    assert isinstance(error, PacsError)
    assert error.cause in ("timed out", "unreachable")


def test_half_of_an_object_and_no_more_is_given_up():
    with DimsePeer(STUDIES, free_port()) as peer, DeadLine(peer.receiver, 1500) as line:
        receiver, peer.receiver = peer.receiver, line.port
        error = within_bound(lambda: all_objects(peer.port, receiver))
    assert isinstance(error, PacsError)


def test_a_receiver_that_closes_cuts_off_who_goes_on_byte_by_byte():
    port = free_port()
    receiver = StoreReceiver(settings(free_port(), port))
    before = set(threading.enumerate())
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"\x01\x00\x00\x01")  # of six bytes that say how much comes
        begun_s = time.monotonic()
        while not (readers := [each for each in threading.enumerate() if type(each).__name__ == "DULServiceProvider"
                               and each not in before]):  # fmt: skip
            assert time.monotonic() - begun_s < BOUND_S
            time.sleep(0.01)
        receiver.close()
        for each in readers:
            each.join(BOUND_S)
            assert not each.is_alive()


def test_who_says_for_ever_that_it_is_sending_is_given_up(monkeypatch):
    monkeypatch.setattr(dimse, "PATIENCE", 1)
    entity, port, receiver, over = AE("ARCHIVE"), free_port(), free_port(), threading.Event()
    entity.add_supported_context(MOVE)

    def pending(event):
        answer = C_MOVE()
        answer.MessageIDBeingRespondedTo, answer.Status = event.request.MessageID, 0xFF00
        answer.AffectedSOPClassUID, answer.NumberOfRemainingSuboperations = MOVE, 1
        while not over.wait(0.05):
            event.assoc.dimse.send_msg(answer, event.context.context_id)
        yield None, None

    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_MOVE, pending)])
    try:
        with DimseArchive(settings(port, receiver)) as archive:
            error = within_bound(lambda: list(archive.retrieve("1.2", "1.2.3", frozenset({"1.2.3.4"}), True)))
        assert (error.cause, "nothing arrived" in str(error)) == ("timed out", True)
    finally:
        over.set()
        server.shutdown()


def test_an_answer_is_taken_by_who_asked_and_by_no_other_thread():
    with DimsePeer(STUDIES, free_port()) as peer, DimseArchive(settings(peer.port, peer.receiver)) as archive:
        assert len(archive.studies(StudyQuery("A000"))) == 1
        (link,) = archive._links.values()
        assert link.is_alive()
        link.dimse.msg_queue.put((1, C_MOVE()))  # an answer that comes while the reactor is on its way to a pause
        link.join(0.1)
        assert link.dimse.msg_queue.get_nowait()[0] == 1
