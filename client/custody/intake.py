"""One file on its way in: looked at, decoded, its identity taken out, sealed. Nothing is written here.

This runs in processes of their own, since a file from outside may break its decoder.
"""

import json
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from pydicom.dataset import FileDataset

from client import readers
from client.custody import burned_in
from client.custody.dataset_writer import SealedObject, seal
from client.custody.deidentify import Deidentifier
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.identity_words import are_in, identifying_words, text_words, without_words
from client.custody.pseudonyms import Pseudonyms
from client.custody.sealing import subkey
from client.readers import custody_pixels, dicom
from client.readers.source import ImageBytes, ImageSource
from client.sources import image_cache
from client.sources.case_row import CaseRow
from client.sources.identity import is_somebody
from common.errors import ImageError
from common.imaging import Picture

_QUOTED = re.compile(r"(?<!\w)(['\"]).*?\1(?!\w)")


@dataclass(frozen=True)
class AlreadyStored:
    """A file that is in already."""

    source: str


@dataclass(frozen=True)
class Intake:
    """Takes the files of one import in."""

    store: EncryptedDataset
    allow_burned_in: bool

    def take(self, row: CaseRow) -> SealedObject | AlreadyStored | ImageError:
        """What becomes of the file of one row. Whatever is wrong with it is an ImageError that names it."""
        try:
            return self._take(row)
        except ImageError as error:
            return error
        except Exception as error:  # a hostile file makes parsers raise anything
            return _damaged(row, error)

    def _take(self, row: CaseRow) -> SealedObject | AlreadyStored:
        kind = readers.detect(row.origin)
        with row.origin.open() as stream:
            content = stream.read()
        # Of a DICOM file all frames are stored; of any other those that this row wants.
        source = source_of(self.store, row.origin) or digest(
            self.store, content, "" if kind == "DICOM" else repr(row.frames)
        )
        if source in self.store.index.numbers:
            return AlreadyStored(source)
        image = ImageBytes(Path(str(row.origin)), content)
        if kind == "DICOM":
            return self._dicom(image, row, source)
        self._refuse(image, burned_in.why_other(content))
        return pixels(self.store, readers.read(image, row.frames), source)

    def _dicom(self, image: ImageBytes, row: CaseRow, source: str) -> SealedObject:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dicom.parse(image)
            try:
                clean, counts = self._clean(image, header, row)
            except Exception as error:
                # What is wrong with a file is often told by its values, and they can be names.
                refusal = error if isinstance(error, ImageError) else _damaged(row, error)
                reason = _QUOTED.sub("…", str(refusal).removeprefix(f"{row.origin}"))
                reason = without_words(reason, text_words(header))
                raise ImageError(f"{row.origin}{reason}", is_burned_in=refusal.is_burned_in) from None
        number = str(header.get("PatientID", ""))
        patient = Pseudonyms(self.store.secrets.pseudonyms).patient(number) if is_somebody(number) else None
        return SealedObject(*seal(self.store.wraps, self.store.secrets, clean), source, None, counts, patient)

    def _clean(self, image: ImageBytes, header: FileDataset, row: CaseRow) -> tuple[bytes, Counter[str]]:
        dicom.check(image, header)
        self._refuse(image, burned_in.why_dicom(header))
        readers.choose(image, row.frames, dicom.frame_count(header))
        words, counts = identifying_words(header), Counter[str]()
        deidentifier = Deidentifier(Pseudonyms(self.store.secrets.pseudonyms), self.store.index.retain)
        clean = deidentifier.clean(header, image, counts)
        if are_in(words, clean):
            raise ImageError(
                f"{image}: the bytes of its pixels spell the patient's name or number. Look at its first and last "
                "rows, and export it without, or leave it out."
            )
        return clean, counts

    def _refuse(self, image: ImageBytes, why: str) -> None:
        if why and not self.allow_burned_in:
            raise ImageError(
                f"{image}: may show a name in its pixels: {why}. Look at it, and if there is none, import it with "
                "--allow-burned-in.",
                is_burned_in=True,
            )


def _damaged(row: CaseRow, error: Exception) -> ImageError:
    reason = _QUOTED.sub("…", " ".join(str(error).split()))[:300] or type(error).__name__
    return ImageError(f"{row.origin}: damaged or unusual ({reason}). Export it again, or leave it out.")


def source_of(store: EncryptedDataset, image: ImageSource) -> str:
    """What an image is known by that has an identity of its own; empty: it is known by its content."""
    identity = image.identity if isinstance(image, ImageBytes) else ""
    return digest(store, b"", f"identity {identity}") if identity else ""


def digest(store: EncryptedDataset, content: bytes | memoryview, which: str) -> str:
    """What a file, or a choice of its frames, is known by; without the data set's key it tells nothing."""
    state = blake3(key=source_key(store))
    state.update(len(which).to_bytes(8, "little") + which.encode())
    state.update(content)
    return state.hexdigest(16)


def source_key(store: EncryptedDataset) -> bytes:
    """What files are known by: it outlives the data key, since what was in before must be known afterwards."""
    return bytes.fromhex(store.index.source_key) or subkey(store.secrets.data, "sources")


def pixels(store: EncryptedDataset, pictures: list[Picture], source: str) -> SealedObject:
    """Decoded frames as an object, with what is known of them."""
    content = custody_pixels.encode(pictures, [image_cache.smallest(picture.pixels) for picture in pictures])
    frame_facts = json.loads(json.dumps({"frames": [image_cache.facts(picture) for picture in pictures]}))
    counts = Counter({"pictures, of which pixels alone are stored": 1})
    return SealedObject(*seal(store.wraps, store.secrets, content), source, frame_facts, counts)
