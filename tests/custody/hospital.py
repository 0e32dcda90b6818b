"""A hospital in a folder, with keys, and images that it could have: what the tests of custody share."""

import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from client.custody import importer
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.importer import ImportRequest
from client.custody.key_ring import Custody
from common.config import Folder
from tests.admitted import home_of

CR = "1.2.840.10008.5.1.4.1.1.1"


def open_hospital(folder, site="lisbon"):
    """A site with custody keys; its recovery key lies beside its folder."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "site.yaml").write_text(f"site: {site}\n", encoding="utf-8")
    custody = Custody(home_of(folder / "site"))
    custody.begin(folder / "recovery.key")
    return custody


def dicom(pixels, syntax=ExplicitVRLittleEndian, **elements):
    """A radiograph of uint8 or uint16 pixels, as a data set that can be written."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    header = FileDataset("", {}, file_meta=meta, preamble=b"patient Ana Sousa".ljust(128))
    uids = [generate_uid(entropy_srcs=[kind, pixels.tobytes().hex()]) for kind in ("image", "study", "series")]
    header.SOPClassUID = CR
    header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID = uids
    header.Modality, header.PatientName, header.PatientID = "CR", "Sousa^Ana", "P-17"
    header.StudyDate, header.PatientBirthDate = "20240229", "19570423"
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, 0
    header.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    header["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    header.update(elements if not elements else _dataset(elements))
    return header


def _dataset(elements):
    found = Dataset()
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def written(header):
    """Its bytes."""
    pydicom.dcmwrite(content := io.BytesIO(), header, enforce_file_format=True)
    return content.getvalue()


def folder_of_dicoms(folder, count=6, size=6, seed=1):
    """`ill/…` and `well/…`, a patient for every two images, in nested series."""
    random = np.random.default_rng(seed)
    for i in range(count):
        place = folder / ("ill", "well")[i // 2 % 2] / f"Sousa-{i // 2}" / "series 1"
        place.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (size, size), np.uint8)
        (place / f"IM{i:05d}").write_bytes(written(dicom(pixels, PatientID=f"P-{i // 2}", InstanceNumber=i)))
    return folder


def taken_in(custody, source, name="chest", **settings):
    """Import a folder; what came of it."""
    return importer.run(custody, ImportRequest(Folder(kind="folder", path=source, on_error="report"), name, **settings))


def opened(custody, name="chest"):
    """The data set."""
    return EncryptedDataset.open(custody, custody.sets / name)


def tell(custody, name="chest"):
    """All objects and cases, decrypted."""
    store = opened(custody, name)
    return [bytes(store.read(i)) for i in range(len(store.index.objects))], list(store.index.cases)
