"""Results of a model into the study of their image, in an archive that the site's signed policy names."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.access.policy_store import policy_store
from client.home import SiteFolder
from client.pacs.open_archive import open_archive
from client.pacs.pacs_settings import DicomWebPacs, DimsePacs, read_one
from client.pacs.result_objects import ModelIdentity, ResultSeries, ResultStatement, capture_of, report_of
from common.errors import AccessError, PacsError

NEEDED = ("PatientID", "StudyInstanceUID", "SOPClassUID", "SOPInstanceUID")


def permitted_archive(home: Path, name: str) -> DimsePacs | DicomWebPacs:
    """An archive that results may be sent to.

    Raises:
        ConfigError: there is no such archive, or no site.
        AccessError: the policy does not name it, or names another address.
    """
    site, settings = SiteFolder.at(home), read_one(home, name)
    archives = policy_store(site).in_force().content.archives
    if f"{name} {settings.address}" not in archives:
        raise AccessError(
            f"{name}: results may not be sent to {settings.address}: the site's policy names "
            f"{'; '.join(archives) or 'no archive'}. Two data officers allow it: python -m client access propose "
            f'--results-to "{name} {settings.address}"'
        )
    return settings


class ResultSender:
    """Sends what a model says, image by image."""

    def __init__(self, settings: DimsePacs | DicomWebPacs, model: ModelIdentity) -> None:
        self._archive, self._model = open_archive(settings), model
        self._series: dict[str, ResultSeries] = {}
        self.objects = 0
        """That the archive has taken."""

    def __enter__(self) -> Self:
        self._archive.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:  # fmt: skip
        self._archive.__exit__(kind, error, at)

    def test(self) -> None:
        """Ask the archive whether it is there, before the model runs.

        Raises:
            PacsError: it is not.
        """
        self._archive.test()

    def send(
        self, source: Dataset, statements: Sequence[ResultStatement], pictures: Sequence[NDArray[np.uint8]]
    ) -> None:  # fmt: skip
        """The results of one image, in its study.

        Args:
            source: header of the image.
            pictures: uint8[h, w, 3] each.

        Raises:
            PacsError: nothing says whose image it is, or the archive does not take them.
        """
        if str(source.get("PatientIdentityRemoved", "")).upper() == "YES":
            raise PacsError("refused", "its identity was taken out: nothing says which study of the archive it is of")
        if missing := [name for name in NEEDED if not source.get(name)]:
            raise PacsError("refused", f"its header lacks {', '.join(missing)}: nothing says which study it is of")
        series = self._series.setdefault(str(source.StudyInstanceUID), ResultSeries())
        objects = [report_of(source, self._model, statements, series)]
        objects += [capture_of(source, self._model, picture, series) for picture in pictures]
        self._archive.store(objects)
        self.objects += len(objects)
