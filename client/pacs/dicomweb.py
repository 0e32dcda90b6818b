"""An archive over DICOMweb (PS3.18): QIDO-RS, WADO-RS and STOW-RS, one request at a time."""

import io
import json
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
import pydicom
from pydicom.dataset import FileDataset

from client.pacs import archive
from client.pacs.archive import ArrivedObject, SeriesRecord, StudyQuery, StudyRecord
from client.pacs.multipart_parts import boundary_of, parts
from client.pacs.pacs_settings import DicomWebPacs
from client.pacs.peer_check import wrong_certificate
from client.readers import MAX_BYTES
from common.errors import ConfigError, PacsError
from common.storage.secret_files import read_secret

PAGE = 500
"""Entries that are asked for at once."""
MOST_ANSWER_BYTES = 1 << 28
LONGEST_UID = 128
"""The standard allows 64; some devices write more."""
Words = Sequence[tuple[str, str]]
"""Of a query."""
OBJECTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
TAGS = {
    "StudyInstanceUID": "0020000D", "SeriesInstanceUID": "0020000E", "SOPInstanceUID": "00080018",
    "AccessionNumber": "00080050", "StudyDate": "00080020", "ModalitiesInStudy": "00080061", "Modality": "00080060",
    "StudyDescription": "00081030", "NumberOfStudyRelatedInstances": "00201208", "BodyPartExamined": "00180015",
}  # fmt: skip


class DicomWebArchive:
    """One archive; its secret is read from its file with each connection."""

    def __init__(self, settings: DicomWebPacs) -> None:
        self.settings = settings
        self._client = httpx.Client(
            headers=_secret_header(settings), verify=settings.client_context(), timeout=settings.timeout_s,
            trust_env=False, follow_redirects=False,  # a redirection could lead the secret elsewhere
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:  # fmt: skip
        self._client.close()

    def test(self) -> str:
        """A QIDO query for one study."""
        self._json("/studies", [("limit", "1")])
        return f"{self.settings.address} answers QIDO-RS"

    # --- queries ---

    def studies(self, query: StudyQuery) -> list[StudyRecord]:
        """QIDO-RS of studies."""
        keys = {
            "AccessionNumber": query.accession, "ModalitiesInStudy": query.modality, "StudyDate": query.dates,
            "StudyDescription": query.description.replace(" ", "?"),
        }  # fmt: skip
        fields = ("StudyDescription", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")
        words = [(key, value) for key, value in keys.items() if value] + [("includefield", field) for field in fields]
        return [
            StudyRecord(
                _text(entry, "StudyInstanceUID"), _text(entry, "AccessionNumber"), _text(entry, "StudyDate"),
                tuple(_texts(entry, "ModalitiesInStudy")), _text(entry, "StudyDescription"),
                archive.count(_text(entry, "NumberOfStudyRelatedInstances")),
            )
            for entry in self._entries("/studies", words, "StudyInstanceUID")
        ]  # fmt: skip

    def series(self, study: str) -> list[SeriesRecord]:
        """QIDO-RS of series."""
        words = [("includefield", field) for field in ("Modality", "BodyPartExamined")]
        return [
            SeriesRecord(*(_text(entry, key) for key in ("SeriesInstanceUID", "Modality", "BodyPartExamined")))
            for entry in self._entries(f"/studies/{_uid(study)}/series", words, "SeriesInstanceUID")
        ]

    def images(self, study: str, series: str) -> list[str]:
        """QIDO-RS of images."""
        path = f"/studies/{_uid(study)}/series/{_uid(series)}/instances"
        return [_text(entry, "SOPInstanceUID") for entry in self._entries(path, [], "SOPInstanceUID")]

    def _entries(self, path: str, words: Words, key: str) -> Iterator[Mapping[str, Any]]:
        """All entries, page by page; an archive that gives the same page again has given all that it has."""
        uids, begin = set[str](), 0
        while True:
            page = self._json(path, [*words, ("limit", str(PAGE)), ("offset", str(begin))])
            new = [entry for entry in page if _text(entry, key) not in uids]
            uids |= {_text(entry, key) for entry in new}
            yield from new
            if len(page) < PAGE or not new:
                return
            begin += len(page)
            archive.refuse_endless(self.settings.address, begin)

    def _json(self, path: str, words: Words) -> list[Mapping[str, Any]]:
        with self._answer("GET", path, words, {"Accept": "application/dicom+json"}) as answer:
            if answer.status_code == 204:
                return []
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > MOST_ANSWER_BYTES:
                    raise PacsError("damaged", f"{self.settings.address}: an answer without end; refused")
        try:
            entries = json.loads(content or b"[]")
        except (ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise PacsError(
                "damaged",
                f"{self.settings.address}{path}: answers with {bytes(content[:20])!r} …, expected a list in DICOM JSON",
            )
        return entries

    # --- objects ---

    def retrieve(self, study: str, series: str, images: frozenset[str], whole: bool) -> Iterator[ArrivedObject]:
        """WADO-RS, of the series or of each image."""
        path = f"/studies/{_uid(study)}/series/{_uid(series)}"
        for each in [path] if whole else [f"{path}/instances/{_uid(image)}" for image in sorted(images)]:
            with self._answer("GET", each, [], {"Accept": OBJECTS}) as answer:
                boundary = boundary_of(answer.headers.get("content-type", ""))
                for content in parts(answer.iter_bytes(), boundary, MAX_BYTES):
                    yield ArrivedObject("", content)

    def store(self, objects: Sequence[FileDataset]) -> None:
        """STOW-RS, all in one request."""
        boundary = secrets.token_hex(16)
        body = bytearray()
        for one in objects:
            pydicom.dcmwrite(content := io.BytesIO(), one, enforce_file_format=True)
            body += f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + content.getvalue() + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        with self._answer("POST", "/studies", [], headers, bytes(body)) as answer:
            if answer.status_code != 200:
                raise PacsError("refused", f"{self.settings.address} stored a part alone (HTTP {answer.status_code})")

    @contextmanager
    def _answer(
        self, method: str, path: str, words: Words, headers: Mapping[str, str], body: bytes | None = None
    ) -> Iterator[httpx.Response]:
        """An answer whose status is one of success; what goes wrong before or in it is an error with its cause."""
        address, seconds = self.settings.address, self.settings.timeout_s
        # Orthanc takes a percent sign for a letter: what may stand in a query as it is (RFC 3986, 3.4) is not encoded.
        query = urlencode(words, quote_via=quote, safe="*?/:@!$'(),;")
        request = self._client.build_request(
            method, f"{address}{path}?{query}" if query else address + path, headers=headers, content=body
        )
        try:
            answer = self._client.send(request, stream=True)
            try:
                self._refuse(answer)
                yield answer
            finally:
                answer.close()
        except httpx.ConnectTimeout:
            raise PacsError("unreachable", f"{address}: no answer within {seconds:g} s") from None
        except httpx.TimeoutException:
            raise PacsError("timed out", f"{address}: said nothing for {seconds:g} s") from None
        except httpx.ConnectError as error:
            raise _not_connected(address, error) from None
        except httpx.TransportError as error:  # it ended within an answer, or what it says is no HTTP
            raise PacsError(
                "unreachable", f"{address}: ended the connection ({archive.shortened(str(error))})"
            ) from None

    def _refuse(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        words = {401: "it wants another password or token", 403: "it does not allow this", 404: "it has no such thing",
                 503: "it is out of resources", 409: "it stored nothing"}  # fmt: skip
        reason = words.get(answer.status_code) or f"it says {archive.shortened(answer.reason_phrase) or 'nothing'}"
        raise PacsError("refused", f"{self.settings.address}: {reason} (HTTP {answer.status_code})")


def _secret_header(settings: DicomWebPacs) -> dict[str, str]:
    if settings.token_file:
        return {"Authorization": f"Bearer {read_secret(settings.token_file, 'a bearer token')}"}
    if settings.basic_file:
        user, colon, password = read_secret(settings.basic_file, "`user:password`").partition(":")
        if not colon:
            raise ConfigError(f"{settings.basic_file}: expected `user:password` in one line.")
        return {"Authorization": httpx.BasicAuth(user, password)._auth_header}
    return {}


def _not_connected(address: str, error: BaseException) -> PacsError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return wrong_certificate(address, cause.verify_message)
        if isinstance(cause, ssl.SSLError):
            return PacsError("certificate", f"{address}: no TLS connection ({cause.reason or cause})")
        cause = cause.__cause__ or cause.__context__
    return PacsError("unreachable", f"{address}: cannot be reached ({error}). Is it running there?")


def _uid(text: str) -> str:
    """A UID as a part of a path.

    Raises:
        PacsError: what the archive calls a UID is none.
    """
    if not 0 < len(text) <= LONGEST_UID or not set(text) <= set("0123456789."):
        raise PacsError("damaged", f"an entry without a valid UID ({text[:LONGEST_UID]!r})")
    return text


def _texts(entry: Mapping[str, Any], key: str) -> list[str]:
    element = entry.get(TAGS[key])
    values = element.get("Value") if isinstance(element, dict) else None
    return [archive.shortened(str(value)) for value in values or []] if isinstance(values, list) else []


def _text(entry: Mapping[str, Any], key: str) -> str:
    return next(iter(_texts(entry, key)), "")
