"""Archives that misbehave, and hospitals that ask them: real sockets, DIMSE by pynetdicom and HTTP by the library."""

import contextlib
import io
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from client.access import people
from client.access.policy_change import begin_policy
from client.custody.key_ring import Custody
from client.pacs.link_bounds import bounds
from tests.admitted import home_of
from tests.custody.hospital import dicom, open_hospital, written
from tests.pacs.orthanc import free_port

PATIENCE_S = 10.0
FIND, MOVE = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove


def study(number: int, images: int = 2, size: int = 16, **elements: object) -> list[FileDataset]:
    """A study with one series of radiographs, each with other pixels."""
    random, uid = np.random.default_rng(number), f"2.25.{10_000 + number}"
    named = {
        "AccessionNumber": f"A{number:03d}", "StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1",
        "PatientID": f"P-{number}", "PatientName": f"Sousa^Ana{number}", "StudyDescription": "Thorax pa",
        "BodyPartExamined": "CHEST", **elements,
    }  # fmt: skip
    made = []
    for i in range(images):
        header = dicom(random.integers(0, 4096, (size, size)).astype(np.uint16), **named)
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1.{i}"
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
        made.append(header)
    return made


def worklist(path: Path, numbers: range | list[int], more: str = "") -> Path:
    """A CSV in which odd studies are ill."""
    rows = [f"A{number:03d},{'ill' if number % 2 else 'well'}" for number in numbers]
    path.write_text("\n".join(["accession,label", *rows, *filter(None, [more])]) + "\n", encoding="utf-8")
    return path


def hospital(folder: Path) -> Custody:
    """A site with keys of custody and a person in all roles."""
    custody = open_hospital(folder)
    begin_policy(home_of(folder / "site"), "ana")
    assert (folder / "site" / people.OWN_FILE).exists()
    return custody


# --- DIMSE ----------------------------------------------------------------------------------------------------------


@dataclass
class DimsePeer:
    """Answers C-FIND from what it has, and C-MOVE as it is told."""

    studies: dict[str, list[FileDataset]]
    receiver: int
    """Where the hospital listens."""
    find_status: int = 0x0000
    move_status: dict[str, int] = field(default_factory=dict)
    """By accession number: refused with this status."""
    hang: set[str] = field(default_factory=set)
    """By accession number: nothing is answered."""
    change: Callable[[str, list[FileDataset]], list[FileDataset]] = lambda accession, objects: objects
    """What is sent in place of a study."""
    sender: str = "ARCHIVE"
    ae: str = "ARCHIVE"
    tls: tuple[object, object] | None = None
    """Contexts of the server, and of its connections to the hospital."""

    def __enter__(self) -> "DimsePeer":
        self.port, self.moves, self.over = free_port(), list[str](), threading.Event()
        entity = AE(self.ae)
        entity.require_called_aet = True
        for kind in (Verification, FIND, MOVE):
            entity.add_supported_context(kind)
        self.server = entity.start_server(
            ("127.0.0.1", self.port), block=False, ssl_context=self.tls[0] if self.tls else None,
            evt_handlers=[*bounds(PATIENCE_S), (evt.EVT_C_FIND, self._find), (evt.EVT_C_MOVE, self._move)],
        )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

    def leave(self) -> None:
        """As when the machine goes down; once is enough."""
        if not self.over.is_set():
            self.over.set()
            links = self.server.active_associations
            self.server.shutdown()
            for link in links:
                link.abort(block=False)

    def _find(self, event):
        if self.find_status:
            yield self.find_status, None
            return
        query = event.identifier
        for accession, objects in self.studies.items():
            first = objects[0]
            if query.get("AccessionNumber") not in (None, "", accession):
                continue
            if query.get("StudyInstanceUID") not in (None, "", first.StudyInstanceUID):
                continue
            for one in objects if query.QueryRetrieveLevel == "IMAGE" else [first]:
                answer = Dataset()
                for element in query:
                    if element.keyword in one:
                        answer[element.tag] = one[element.tag]
                answer.QueryRetrieveLevel = query.QueryRetrieveLevel
                if query.QueryRetrieveLevel == "STUDY":
                    answer.ModalitiesInStudy, answer.NumberOfStudyRelatedInstances = one.Modality, len(objects)
                yield 0xFF00, answer

    def _move(self, event):
        uid = event.identifier.StudyInstanceUID
        accession = next(name for name, objects in self.studies.items() if objects[0].StudyInstanceUID == uid)
        self.moves.append(accession)
        if accession in self.hang:
            self.over.wait(20)
        if accession in self.move_status:
            yield "127.0.0.1", self.receiver, {"contexts": contexts()}
            yield 1
            yield self.move_status[accession], None
            return
        objects = self.change(accession, self.studies[accession])
        wanted = event.identifier.get("SOPInstanceUID")
        if wanted:
            wanted = [wanted] if isinstance(wanted, str) else list(wanted)
            objects = [one for one in objects if one.SOPInstanceUID in wanted]
        # Sent by hand, so that odd objects go out as they are, and whatever the receiver says of them is passed over.
        link = AE(self.sender).associate(
            "127.0.0.1", self.receiver, contexts(), ae_title=event.move_destination,
            tls_args=(self.tls[1], "localhost") if self.tls else None, evt_handlers=bounds(PATIENCE_S),
        )  # fmt: skip
        if not link.is_established:
            yield None, None
            return
        for one in objects:
            link.send_c_store(one)
        link.release()
        yield "127.0.0.1", self.receiver
        yield 0


@dataclass
class DeadLine:
    """A connection to a port on which, after so many bytes of both sides, nothing goes any more, and nothing ends.

    As when the machine there loses its power: half an answer has come, and no word that it was all.
    """

    port_behind: int
    passes: int

    def __enter__(self) -> "DeadLine":
        self._listener, self._sockets = socket.create_server(("127.0.0.1", 0)), list[socket.socket]()
        self.port, self._lock = self._listener.getsockname()[1], threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(30)  # nothing is accepted any more
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # which wakes who reads it
        for thread in self._threads:
            thread.join(30)
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                self._sockets.append(near)
                far = socket.create_connection(("127.0.0.1", self.port_behind))
                self._sockets.append(far)
                for one, other in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._carry, args=(one, other), daemon=True))
                    self._threads[-1].start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := one.recv(1 << 16):
                with self._lock:
                    content, self.passes = content[: self.passes], self.passes - len(content[: self.passes])
                    other.sendall(content)


def contexts():
    """For radiographs."""
    return [build_context("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1")]


# --- HTTP -----------------------------------------------------------------------------------------------------------


@dataclass
class WebPeer:
    """Answers QIDO-RS from what it has, and WADO-RS as it is told."""

    studies: dict[str, list[FileDataset]]
    retrieve: Callable[["WebPeer", BaseHTTPRequestHandler, str], bool] = lambda peer, handler, accession: False
    """Answers for a study, and says so; else it is answered well."""
    query: Callable[[BaseHTTPRequestHandler], bool] = lambda handler: False
    token: str = ""
    tls: object = None

    def __enter__(self) -> "WebPeer":
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: object) -> None: ...

            def do_GET(self) -> None:
                peer._answer(self)

        self.pulls, self.over = list[str](), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://localhost:{self.server.server_address[1]}/dicom-web"
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, words = handler.path.removeprefix("/dicom-web").partition("?")
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            self.send(handler, 401, "text/plain", b"no")
        elif "application/dicom+json" in handler.headers["Accept"]:
            if not self.query(handler):
                self._list(handler, path, words)
        else:
            accession = self._accession(path)
            self.pulls.append(accession)
            if not self.retrieve(self, handler, accession):
                self.send_objects(handler, self.wanted(path))

    def wanted(self, path: str) -> list[bytes]:
        """The objects that a path asks for."""
        objects = self.studies[self._accession(path)]
        return [written(one) for one in objects if "/instances/" not in path or path.endswith(f"/{one.SOPInstanceUID}")]

    def _accession(self, path: str) -> str:
        return next(name for name, objects in self.studies.items() if f"/{objects[0].StudyInstanceUID}/" in f"{path}/")

    def _list(self, handler: BaseHTTPRequestHandler, path: str, words: str) -> None:
        asked = dict(part.partition("=")[::2] for part in words.split("&"))
        if path == "/studies":
            objects = [those[0] for name, those in self.studies.items() if asked.get("AccessionNumber", name) == name]
        elif path.endswith("/series"):
            objects = self.studies[self._accession(path)][:1]
        else:
            objects = self.studies[self._accession(path)]
        entries = []
        for one in objects:
            names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber", "Modality",
                     "BodyPartExamined")  # fmt: skip
            part = Dataset()
            for name in names:
                setattr(part, name, one.get(name))
            entries.append(part.to_json_dict())
        self.send(handler, 200, "application/dicom+json", json.dumps(entries[int(asked.get("offset", 0)) :]).encode())

    def send(self, handler: BaseHTTPRequestHandler, status: int, kind: str, content: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def send_objects(
        self, handler: BaseHTTPRequestHandler, contents: list[bytes], cut: int | None = None, close: bool = True
    ) -> None:
        """As multipart/related; cut after so many bytes."""
        body = b"".join(b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in contents)
        body += b"--xyz--\r\n" if close else b""
        kind = 'multipart/related; type="application/dicom"; boundary=xyz'
        if cut is None:
            self.send(handler, 200, kind, body)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:cut])
        handler.close_connection = True


def without_end(header: FileDataset) -> FileDataset:
    """The same image, of whose pixels half are missing."""
    half = pydicom.dcmread(io.BytesIO(written(header)))
    half.PixelData = half.PixelData[: len(half.PixelData) // 2]
    half["PixelData"].VR = "OW"
    return half
