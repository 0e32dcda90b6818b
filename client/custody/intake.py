"""One file on its way in: looked at, its identity taken out, decoded once as a trial, sealed. Nothing is written here.

This runs in processes of their own, since a file from outside may break its decoder.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from client import readers
from client.custody import burned_in
from client.custody.dataset_writer import SealedObject, seal
from client.custody.deidentify import Deidentifier, identifying_words
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.pseudonyms import Pseudonyms
from client.custody.sealing import subkey
from client.readers import custody_pixels, dicom
from client.readers.source import ImageBytes
from client.sources import image_cache
from client.sources.csv_list import CaseRow
from common.errors import ImageError
from common.imaging import Picture


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
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            return ImageError(f"{row.origin}: damaged or unusual ({reason}). Export it again, or leave it out.")

    def _take(self, row: CaseRow) -> SealedObject | AlreadyStored:
        kind = readers.detect(row.origin)
        with row.origin.open() as stream:
            content = stream.read()
        # Of a DICOM file all frames are stored; of any other those that this row wants.
        source = digest(self.store, content, "" if kind == "DICOM" else repr(row.frames))
        if source in self.store.index.numbers:
            return AlreadyStored(source)
        image = ImageBytes(Path(str(row.origin)), content)
        if kind == "DICOM":
            return self._dicom(image, row, source)
        self._refuse(image, burned_in.why_other(content))
        return pixels(self.store, readers.read(image, row.frames), source)

    def _dicom(self, image: ImageBytes, row: CaseRow, source: str) -> SealedObject:
        deidentifier = Deidentifier(Pseudonyms(self.store.secrets.pseudonyms), self.store.index.retain)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dicom.parse(image)
            dicom.check(image, header)
            self._refuse(image, burned_in.why_dicom(header))
            words = identifying_words(header)
            clean = deidentifier.clean(header)
        if any(word in clean for word in words):
            self._refuse(image, "the patient's name or number occurs in it once more, outside of all known elements")
        # What cannot be decoded must be named now: once it is in, it has no name.
        readers.read(ImageBytes(image.path, clean), row.frames)
        return SealedObject(*seal(self.store.wraps, self.store.secrets, clean), source, None)

    def _refuse(self, image: ImageBytes, why: str) -> None:
        if why and not self.allow_burned_in:
            raise ImageError(
                f"{image}: may show a name in its pixels: {why}. Look at it, and if there is none, import it with "
                "--allow-burned-in."
            )


def digest(store: EncryptedDataset, content: bytes | memoryview, which: str) -> str:
    """What a file, or a choice of its frames, is known by; without the data set's key it tells nothing."""
    state = blake3(key=subkey(store.secrets.data, "sources"))
    state.update(len(which).to_bytes(8, "little") + which.encode())
    state.update(content)
    return state.hexdigest(16)


def pixels(store: EncryptedDataset, pictures: list[Picture], source: str) -> SealedObject:
    """Decoded frames as an object, with what is known of them."""
    content = custody_pixels.encode(pictures, [image_cache.smallest(picture.pixels) for picture in pictures])
    frame_facts = json.loads(json.dumps({"frames": [image_cache.facts(picture) for picture in pictures]}))
    return SealedObject(*seal(store.wraps, store.secrets, content), source, frame_facts)
