"""Answers into the hospital's archive: gathered image by image, and sent when all of an image is said."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pydicom.dataset import Dataset

from client import readers
from client.pacs.result_objects import ModelIdentity, ResultStatement
from client.pacs.send_results import ResultSender
from client.prediction.inputs import Image
from client.prediction.outcome import Outcome, statement
from client.readers import Frames
from client.readers.source import ImageSource
from common.errors import ImageError, PacsError
from common.package import ModelPackage, PackageContent

_FRAME = re.compile(r" \(frame (\d+)\)$")


def identity_of(package: ModelPackage) -> ModelIdentity:
    """The model, as a report names it."""
    return ModelIdentity(package.content.name, package.digest, package.content.publisher.name)


@dataclass
class ResultQueue:
    """What is said of the image that is at hand. An answer is not lost because it cannot be sent."""

    sender: ResultSender
    images: Sequence[Image]
    frames: Frames
    failures: list[str] = field(default_factory=list)
    """Images whose results the archive has not, each with the reason."""

    def __post_init__(self) -> None:
        self._origins = {image.name: image.origin for image in self.images}
        self._name = ""
        self._statements: list[ResultStatement] = []
        self._pictures: list[NDArray[np.uint8]] = []

    def add(self, content: PackageContent, outcome: Outcome, unlike: str, picture: bytes | None) -> None:
        """One answer, with its picture as a PNG."""
        match = _FRAME.search(outcome.name)
        name = outcome.name if outcome.name in self._origins or match is None else outcome.name[: match.start()]
        if name != self._name:
            self.send()
            self._name = name
        two, probabilities = len(content.labels) == 2, outcome.probabilities
        index = 1 if two else outcome.answer
        point = f", called so from {outcome.point:.3g} on" if outcome.point is not None else ""
        self._statements.append(
            ResultStatement(
                content.labels[outcome.answer],
                content.labels[index],
                probabilities[index] if probabilities else None,
                outcome.point,
                (
                    statement(content, outcome),
                    f"Probability is of {content.labels[index]}{point}." if probabilities else "",
                ),
                unlike,
                int(match[1]) if match and name != outcome.name else None,
            )
        )
        if picture is not None:
            with PillowImage.open(io.BytesIO(picture)) as image:
                self._pictures.append(np.asarray(image.convert("RGB")))

    def send(self) -> None:
        """Send what is there, if anything is."""
        statements, pictures, name = self._statements, self._pictures, self._name
        self._statements, self._pictures, self._name = [], [], ""
        if not statements:
            return
        try:
            header = _header(self._origins.get(name))
            self.sender.send(header, [self._with_frame(header, one) for one in statements], pictures)
        except (ImageError, PacsError) as error:
            self.failures.append(f"{name}: {error}")

    def _with_frame(self, header: Dataset, one: ResultStatement) -> ResultStatement:
        """With the frame that was looked at, where the object has several."""
        count = int(header.get("NumberOfFrames") or 1)
        if count == 1:
            return ResultStatement(**{**vars(one), "frame": None})
        index = {"first": 0, "middle": count // 2}.get(str(self.frames), self.frames)
        return ResultStatement(**{**vars(one), "frame": index if isinstance(index, int) else one.frame or 0})


def _header(origin: ImageSource | None) -> Dataset:
    if origin is None or readers.detect(origin) != "DICOM":
        raise PacsError("refused", "it is no DICOM object: nothing says which study of the archive it is of")
    try:
        with origin.open() as stream:
            return pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    except ImageError:
        raise
    except Exception as error:  # what is damaged makes the parser raise anything
        raise PacsError("damaged", f"its header cannot be read ({type(error).__name__})") from None
