"""Whether an object that came is one that was asked for: archives send others, too."""

import io

import pydicom

from client.pacs.archive import ArrivedObject
from common.errors import PacsError

IDENTITY = ("SOPInstanceUID", "StudyInstanceUID")


def check_arrival(arrival: ArrivedObject, study: str, images: frozenset[str]) -> str:
    """The SOP Instance UID of an object, which is one of those that were asked for.

    Raises:
        PacsError: it is another, or no DICOM.
    """
    try:
        header = pydicom.dcmread(io.BytesIO(arrival.content), specific_tags=[*IDENTITY], stop_before_pixels=True)
        uid, of_study = (str(header.get(key, "")) for key in IDENTITY)
    except Exception as error:  # bytes from outside make the parser raise anything
        raise PacsError("damaged", f"an object that is no DICOM ({type(error).__name__})") from None
    if uid not in images or of_study != study or arrival.uid not in ("", uid):
        raise PacsError("wrong object", "an object of another study, or one that was not asked for")
    return uid
