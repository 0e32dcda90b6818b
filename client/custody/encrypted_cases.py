"""An encrypted data set as a table of cases, so that training, check and preview see images like any others."""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag

from client.custody.dataset_index import Case
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from client.custody.sealing import context, seal, unseal_view
from client.home import Home
from client.readers import Frames
from client.readers.source import BytesFile
from client.sources import file_list
from client.sources.case_row import CaseListing, CaseRow
from client.sources.case_table import Table, located
from common.config import Encrypted
from common.errors import AccessError, ConfigError, CustodyError, ImageError


@dataclass(frozen=True)
class EncryptedImage:
    """One object of a data set (`client.readers.source.ImageSource`, and the sealer of its decoded image)."""

    store: EncryptedDataset
    number: int

    def __str__(self) -> str:
        return f"{self.store.name}/{self.number}"

    @property
    def sealer(self) -> "EncryptedImage":
        """Itself: a decoded image is sealed under the key that its object is sealed under."""
        return self

    def open(self) -> BinaryIO:
        """The object, in memory.

        Raises:
            ImageError: it is not what was stored.
        """
        try:
            return io.BufferedReader(BytesFile(self.store.read(self.number)))
        except CustodyError as error:
            raise ImageError(f"{self}: {error}") from None

    def state(self) -> str:
        """The object's own name, which no other has."""
        return f"{self.store.wraps.set}/{self._id}"

    def frame_facts(self) -> dict[str, Any] | None:
        """Of pixels, all; of a DICOM file nothing."""
        return self.store.index.objects[self.number].frame_facts

    def seal(self, content: bytes, part: str) -> bytes:
        """A part of its decoded image."""
        return seal(self.store.secrets.data, content, self.store.wraps.place("decoded", self._id, part))

    def unseal(self, sealed_bytes: bytes, part: str) -> memoryview:
        """The content of `seal`.

        Raises:
            ValueError: it was changed, or is another part's.
        """
        place = self.store.wraps.place("decoded", self._id, part)
        try:
            return unseal_view(self.store.secrets.data, sealed_bytes, context(place))
        except InvalidTag:
            raise ValueError(f"{self}: a decoded part that is not what was stored") from None

    @property
    def _id(self) -> str:
        return self.store.index.objects[self.number].id


def open_store(source: Encrypted, home: Home | None) -> EncryptedDataset:
    """The data set of a configuration.

    Args:
        home: the site that somebody was let in at.

    Raises:
        AccessError: nobody was, or at another site than the data set's.
        ConfigError: no site's folder, or no keys in it.
        CustodyError: it is not what was stored last.
    """
    folder = located(source.path)
    if home is None:
        raise AccessError(f"{folder}: is encrypted, and opens for whom the policy of its site lets in alone.")
    home.admission.demand(source.home or folder.parent.parent)
    return EncryptedDataset.open(Custody(home), folder)


def read(source: Encrypted, home: Home | None) -> Table:
    """The table of a data set.

    Raises:
        AccessError: as `open_store`.
        ConfigError: no site's folder, or no keys in it.
        CustodyError: it is not what was stored last.
        DataError: bad images, all listed (`on_error: stop`), or none.
    """
    store = open_store(source, home)
    listing = CaseListing([_row(store, case, source) for case in store.index.cases])
    listing.settle(str(store.folder), source)
    return file_list.table(store.folder, listing, source)


def origin(source: Encrypted, name: str, home: Home | None) -> EncryptedImage:
    """An image by the name that messages give it, or by its number.

    Raises:
        AccessError: as `open_store`.
        ConfigError: there is none.
    """
    store = open_store(source, home)
    number = name.removeprefix(f"{store.name}/")
    if not number.isdecimal() or int(number) >= len(store.index.objects):
        raise ConfigError(
            f"{name}: no such image in data set {store.name}; expected {store.name}/0 to "
            f"{store.name}/{len(store.index.objects) - 1}."
        )
    return EncryptedImage(store, int(number))


def _row(store: EncryptedDataset, case: Case, source: Encrypted) -> CaseRow:
    image = EncryptedImage(store, case.object)
    # Of pixels those frames are stored that the import was told.
    frames: Frames = "all" if image.frame_facts() else source.frames if case.frame is None else case.frame
    return CaseRow(image, case.label, None, case.site, case.patient, case.split, frames)
