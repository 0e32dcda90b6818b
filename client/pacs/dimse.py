"""An archive over DIMSE (PS3.4, annexes C and B; PS3.7): C-ECHO, C-FIND, C-MOVE to a receiver of our own, C-STORE."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from pydicom.dataset import Dataset, FileDataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from client.pacs import archive
from client.pacs.archive import ArrivedObject, SeriesRecord, StudyQuery, StudyRecord
from client.pacs.dimse_elements import query_of, text_of, texts_of
from client.pacs.link_bounds import bounds, settle
from client.pacs.pacs_settings import DimsePacs
from client.pacs.peer_check import reason_not_connected
from client.pacs.store_receiver import StoreReceiver
from common.errors import PacsError

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # what it logs can be names

FIND, MOVE = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove
PENDING = (0xFF00, 0xFF01)
REFUSALS = {
    0xA700: "it is out of resources", 0xA701: "it is out of resources", 0xA702: "it could not send a single object",
    0xA801: "it does not know this site's AE title", 0x0122: "it does not offer this", 0x0124: "it does not allow this",
    0xA900: "it does not understand the query", 0xFE00: "it cancelled",
}  # fmt: skip
"""Statuses of C-FIND, C-MOVE and C-STORE (PS3.4 C.4, PS3.7 annex C), as people say them."""
PATIENCE = 10
"""Time-outs for which an archive may go on saying that it is sending, and send nothing: it may have to fetch a tape."""


class DimseArchive:
    """One archive; a connection is made when one is needed, and again when it was lost."""

    def __init__(self, settings: DimsePacs) -> None:
        self.settings = settings
        self._entity = AE(settings.our_ae)
        self._entity.acse_timeout = self._entity.dimse_timeout = settings.timeout_s
        self._entity.network_timeout = self._entity.connection_timeout = settings.timeout_s
        self._links: dict[str, Association] = {}
        self._receiver: StoreReceiver | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:  # fmt: skip
        for link in self._links.values():
            link.release() if error is None and link.is_established else link.abort()
        if self._receiver:
            self._receiver.close()

    def test(self) -> str:
        """C-ECHO over a connection of its own: one that is open may outlive the archive's readiness for others."""
        link = self._connected([(str(Verification), "")])
        with self._loss_named("C-ECHO"):
            status = link.send_c_echo()
        link.release()
        if status.get("Status") != 0x0000:
            raise self._refusal("C-ECHO", status, 0.0)
        return f"{self.settings.address} answers C-ECHO to {self.settings.our_ae}"

    # --- queries ---

    def studies(self, query: StudyQuery) -> list[StudyRecord]:
        """C-FIND of studies."""
        keys = {
            "AccessionNumber": query.accession, "ModalitiesInStudy": query.modality, "StudyDate": query.dates,
            "StudyDescription": query.description, "StudyInstanceUID": "", "NumberOfStudyRelatedInstances": "",
        }  # fmt: skip
        return [
            StudyRecord(
                text_of(answer, "StudyInstanceUID"), text_of(answer, "AccessionNumber"), text_of(answer, "StudyDate"),
                texts_of(answer, "ModalitiesInStudy"), text_of(answer, "StudyDescription"),
                archive.count(text_of(answer, "NumberOfStudyRelatedInstances")),
            )
            for answer in self._find("STUDY", keys)
        ]  # fmt: skip

    def series(self, study: str) -> list[SeriesRecord]:
        """C-FIND of series."""
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": "", "BodyPartExamined": ""}
        return [
            SeriesRecord(*(text_of(answer, key) for key in ("SeriesInstanceUID", "Modality", "BodyPartExamined")))
            for answer in self._find("SERIES", keys)
        ]

    def images(self, study: str, series: str) -> list[str]:
        """C-FIND of images."""
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": ""}
        return [text_of(answer, "SOPInstanceUID") for answer in self._find("IMAGE", keys)]

    def _find(self, level: str, keys: dict[str, str]) -> Iterator[Dataset]:
        """Answers, all of which have to be taken before anything else is asked over this connection."""
        link, last_s, entries = self._link(FIND), time.monotonic(), 0
        with self._loss_named("C-FIND"):
            answers = link.send_c_find(query_of(level, keys), FIND)
        for status, answer in answers:
            if status.get("Status") in PENDING:
                entries += 1
                if entries > archive.MOST_ENTRIES:
                    link.abort()
                archive.refuse_endless(self.settings.address, entries)
                if answer is not None:
                    yield answer
                last_s = time.monotonic()
            elif status.get("Status") != 0x0000:
                raise self._refusal("C-FIND", status, time.monotonic() - last_s)

    # --- objects ---

    def retrieve(self, study: str, series: str, images: frozenset[str], whole: bool) -> Iterator[ArrivedObject]:
        """C-MOVE to this site's receiver, which listens from the first one on."""
        link = self._link(MOVE)
        self._receiver = receiver = self._receiver or StoreReceiver(self.settings)
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        query = query_of("SERIES" if whole else "IMAGE", keys)
        if not whole:
            query.SOPInstanceUID = sorted(images)
        receiver.wanted_uids, receiver.strange, failures = set(images), 0, list[PacsError]()

        def move() -> None:
            try:
                self._move(link, query, receiver)
            except PacsError as error:
                failures.append(error)
            finally:
                receiver.finish()

        thread = threading.Thread(target=move, daemon=True)
        thread.start()
        try:
            yield from receiver.objects()
        except GeneratorExit:
            link.abort()
            raise
        finally:
            receiver.wanted_uids = set()
        if receiver.strange and not failures:
            failures.append(PacsError("wrong object", f"{receiver.strange} objects came that nobody had asked for"))
        if failures:
            raise failures[0]

    def _move(self, link: Association, query: Dataset, receiver: StoreReceiver) -> None:
        last_s = receiver.arrived_s = time.monotonic()
        with self._loss_named("C-MOVE"):
            answers = link.send_c_move(query, self.settings.our_ae, MOVE)
        for status, _ in answers:
            if status.get("Status") not in (*PENDING, 0x0000):
                raise self._refusal("C-MOVE", status, time.monotonic() - last_s)
            last_s = time.monotonic()
            if (waited_s := last_s - receiver.arrived_s) > PATIENCE * self.settings.timeout_s:
                link.abort()
                raise PacsError("timed out", f"{self.settings.address}: says that it is sending; for {waited_s:.0f} s "
                                "nothing arrived")  # fmt: skip

    def store(self, objects: Sequence[FileDataset]) -> None:
        """C-STORE, each in its own transfer syntax."""
        kinds = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in objects}
        link = self._connected(sorted(kinds))
        try:
            for one in objects:
                begun_s, status = time.monotonic(), Dataset()
                try:
                    status = link.send_c_store(one)
                except ValueError as error:
                    raise PacsError("refused", f"{self.settings.address}: {one.SOPClassUID.name}: {error}") from None
                except RuntimeError:
                    pass
                if status.get("Status", 0xFFFF) not in (0x0000, 0xB000, 0xB006, 0xB007):
                    raise self._refusal("C-STORE", status, time.monotonic() - begun_s)
        finally:
            link.release()

    # --- connections ---

    def _link(self, model: str) -> Association:
        """A connection that offers one service; the one that is open, where one is."""
        if (link := self._links.get(model)) is None or not link.is_established:
            link = self._links[model] = self._connected([(model, "")])
        return link

    def _connected(self, kinds: Sequence[tuple[str, str]]) -> Association:
        entity, settings = self._entity, self.settings
        entity.requested_contexts = []
        for kind, syntax in kinds:
            entity.add_requested_context(kind, *([syntax] if syntax else []))
        tls = settings.client_context()
        link = entity.associate(
            settings.host, settings.port, ae_title=settings.ae, max_pdu=1 << 17,
            tls_args=(tls, settings.host) if tls else None, evt_handlers=bounds(settings.timeout_s),
        )  # fmt: skip
        if link.is_established:
            settle(link)
            return link
        if link.is_rejected:
            answer = link.acceptor.primitive
            raise PacsError(
                "refused",
                f"{settings.address} refuses a connection ({answer.reason_str if answer else 'no reason'}). Does it "
                f"know this site as {settings.our_ae}, and is {settings.ae} its own AE title?",
            )
        why = reason_not_connected(settings.host, settings.port, tls, settings.timeout_s)
        raise why or PacsError(
            "timed out", f"{settings.address} took the connection and said nothing within {settings.timeout_s:g} s"
        )

    @contextmanager
    def _loss_named(self, what: str) -> Iterator[None]:
        """pynetdicom's word for a connection that ended before something could be asked over it."""
        try:
            yield
        except RuntimeError:
            raise self._refusal(what, Dataset(), 0.0) from None

    def _refusal(self, what: str, status: Dataset, waited_s: float) -> PacsError:
        address, code = self.settings.address, status.get("Status")
        if code is None:
            if waited_s >= 0.9 * self.settings.timeout_s:
                return PacsError("timed out", f"{address}: no answer to {what} within {self.settings.timeout_s:g} s")
            return PacsError("unreachable", f"{address}: ended the connection during {what}")
        completed, failed = status.get("NumberOfCompletedSuboperations"), status.get("NumberOfFailedSuboperations")
        if what == "C-MOVE" and code == 0xB000:
            return PacsError(
                "refused", f"{address} sent {completed or 0} objects, and could not send {failed or 'others'}"
            )
        comment = archive.shortened(str(status.get("ErrorComment", "")))
        words = REFUSALS.get(code) or comment or "it gives no reason"
        hint = f". Its administrator has to add {self.settings.our_ae}, this machine, port {self.settings.our_port}"
        return PacsError("refused", f"{address} refuses {what}: {words} (0x{code:04X}){hint * (code == 0xA801)}")
