"""Grey DICOM values as a viewer shows them: modality transform, then the first VOI window, else the VOI LUT."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from client.readers import lookup
from common.errors import ImageError
from common.imaging import Picture

Array = NDArray[Any]


def pictures(path: object, header: Dataset, frames: list[Array], indices: list[int]) -> list[Picture]:
    """Frames of stored values as pictures; without a window they share the range of all of them, padding apart.

    Raises:
        ImageError: an element of the transform or the window makes no sense.
    """
    natural = [rescale(path, header, frame, index) for frame, index in zip(frames, indices, strict=True)]
    value_range = _range_seen(path, header, frames, natural)
    return [_picture(path, header, values, index, value_range) for values, index in zip(natural, indices, strict=True)]


def number(path: object, place: Dataset, keyword: str, default: float) -> float:
    """One number of a header, or the default where it has none."""
    value = optional_number(path, place, keyword)
    return default if value is None else value


def optional_number(path: object, place: Dataset, keyword: str) -> float | None:
    """One number of a header.

    Raises:
        ImageError: it is none, or several that differ; named.
    """
    tag = tag_for_keyword(keyword) or 0
    element = place.get_item(tag) if tag in place else None
    content = None if element is None else element.value
    if content in (None, "", b"") or (isinstance(content, bytes) and not content.strip(b" \0")):
        return None
    try:
        if "_" in str(place[tag].value):
            raise ValueError("a digit separator of Python's, which no header has")
        values = {float(one) for one in np.atleast_1d(np.asarray(place[tag].value, object)).tolist()}
        (value,) = values
    except (TypeError, ValueError, ArithmeticError):
        value = np.nan
    if not np.isfinite(value):
        text = content.decode("latin-1").strip() if isinstance(content, bytes) else str(content)
        raise ImageError(
            f"{path}: {keyword} ({tag >> 16:04x},{tag & 0xFFFF:04x}) is {text[:40]!r}; expected one number. "
            "Export the image again, or leave it out."
        )
    return value


def rescale(path: object, header: Dataset, values: Array, index: int) -> Array:
    """Stored values to natural units, float64: by the modality LUT, else by slope and intercept, or either alone."""
    place = functional_group(header, index, "PixelValueTransformationSequence")
    if luts := place.get("ModalityLUTSequence"):
        table = lookup.read(path, luts[0], header.get("PixelRepresentation") == 1, is_little(header))
        return table(values).astype(np.float64)
    slope, intercept = number(path, place, "RescaleSlope", 1), number(path, place, "RescaleIntercept", 0)
    if slope == 0:
        raise ImageError(f"{path}: RescaleSlope (0028,1053) is 0, which makes all pixels alike. Export it again.")
    return np.asarray(values, np.float64) * slope + intercept


def is_little(header: Dataset) -> bool:
    """Byte order of what lies in the file as bytes."""
    return bool(header.file_meta.TransferSyntaxUID.is_little_endian)


def functional_group(header: Dataset, index: int, name: str) -> Dataset:
    """A functional group of one frame of an enhanced object (C.7.6.16), else the header itself."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    if 0 < len(frames) <= index:
        raise ImageError(
            f"{getattr(header, 'filename', None) or 'a DICOM object'}: PerFrameFunctionalGroupsSequence (5200,9230) "
            f"has {len(frames)} items, and none for frame {index}. Export it again."
        )
    own_groups = frames[index] if frames else Dataset()
    shared_groups = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for place in (own_groups, shared_groups):
        if place.get(name):
            group: Dataset = place[name].value[0]
            return group
    return header


def _range_seen(path: object, header: Dataset, frames: list[Array], natural: list[Array]) -> tuple[float, float]:
    """The range of all frames read, padding apart."""
    padding = optional_number(path, header, "PixelPaddingValue")
    if padding is not None:
        limit = number(path, header, "PixelPaddingRangeLimit", padding)
        low, high = sorted(_as_stored(header, value) for value in (padding, limit))
        inside = [n[(s < low) | (s > high)] for s, n in zip(frames, natural, strict=True)]
        natural = [k for k in inside if k.size] or natural
    return min(float(k.min()) for k in natural), max(float(k.max()) for k in natural)


def _as_stored(header: Dataset, value: float) -> float:
    """A value as BitsStored bits of the pixels' signedness hold it: 63536 beside signed pixels is -2000."""
    if "PixelData" not in header:
        return value
    bits, is_signed = int(header.BitsStored), header.get("PixelRepresentation") == 1
    wrapped = int(value) % 2**bits
    return float(wrapped - 2**bits if is_signed and wrapped >= 2 ** (bits - 1) else wrapped)


def _picture(path: object, header: Dataset, natural: Array, index: int, value_range: tuple[float, float]) -> Picture:
    place = functional_group(header, index, "FrameVOILUTSequence")
    is_dark_high = header.PhotometricInterpretation == "MONOCHROME1"
    if (curve := _curve(path, header, place, natural)) is not None:
        return Picture((1 - curve if is_dark_high else curve).astype(np.float32), 0.0, 1.0, is_shown=True)
    low, high = _window(path, place) or _nominal(header) or value_range
    if high <= low:
        high = low + 1
    if is_dark_high:
        mirror = _mirror(path, header, index, value_range)
        natural, low, high = mirror - natural, mirror - high, mirror - low
    return Picture(natural.astype(np.float32), low, high)


def _mirror(path: object, header: Dataset, index: int, value_range: tuple[float, float]) -> float:
    """What a value and its reverse add up to: of up to 16 bits the ends of what they can hold, else of what they do."""
    bits, is_signed = int(header.BitsStored), header.get("PixelRepresentation") == 1
    if bits > 16:
        return sum(value_range)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    limits = rescale(path, header, np.array(ends), index)
    if min(value_range) < limits.min() or max(value_range) > limits.max():
        raise ImageError(
            f"{path}: MONOCHROME1 with values that BitsStored (0028,0101), {bits}, cannot hold, so that nothing says "
            "what they are the reverse of. Export it again."
        )
    return float(limits.sum())


def _first(path: object, place: Dataset, keyword: str) -> float | None:
    """The first of several numbers, as of WindowCenter."""
    try:
        value = place.get(keyword)
        single = Dataset()
        single.add_new(keyword, "DS", value if value in (None, "") else str(np.atleast_1d(value)[0]))
    except (TypeError, ValueError, ArithmeticError):
        return optional_number(path, place, keyword)  # which names it
    return optional_number(path, single, keyword)


def _voi(path: object, place: Dataset) -> tuple[str, float, float] | None:
    """Function, center and width of the first window; None where there is none, as a width below the least says."""
    center, width = _first(path, place, "WindowCenter"), _first(path, place, "WindowWidth")
    if center is None or width is None:
        return None
    function = str(place.get("VOILUTFunction") or "LINEAR").strip().upper()
    if width < 0:
        raise ImageError(f"{path}: WindowWidth (0028,1051) is {width:g}; expected more than 0. Export it again.")
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageError(
            f"{path}: VOILUTFunction (0028,1056) is {function[:40]!r}; expected LINEAR, LINEAR_EXACT or SIGMOID."
        )
    return (function, center, width) if width >= (1 if function == "LINEAR" else 1e-9) else None


def _window(path: object, place: Dataset) -> tuple[float, float] | None:
    """Values shown as black and white by a straight line, C.11.2.1.2 and C.11.2.1.3.2."""
    if not (window := _voi(path, place)):
        return None
    function, center, width = window
    low = np.float32(center - width / 2)
    high = np.float32(center + width / 2 - (function == "LINEAR"))
    return float(low), float(max(high, np.nextafter(low, np.float32(np.inf))))  # a width of 1 is a threshold


def _curve(path: object, header: Dataset, place: Dataset, natural: Array) -> Array | None:
    """What is shown, 0..1, where it is no straight line: a sigmoid window (C.11.2.1.3.1), or a VOI LUT."""
    if window := _voi(path, place):
        function, center, width = window
        exponent = np.clip(-4 * (natural - center) / width, -700, 700)
        return np.asarray(1 / (1 + np.exp(exponent))) if function == "SIGMOID" else None
    if not (luts := place.get("VOILUTSequence")):
        return None
    is_signed = bool(natural.min() < 0) or (header.get("PixelRepresentation") == 1 and bool(natural.max() < 2**15))
    table = lookup.read(path, luts[0], is_signed, is_little(header))
    return np.asarray(table(natural) / table.high)


def _nominal(header: Dataset) -> tuple[float, float] | None:
    """Of plain values of 8 bits, or of 1, what they can hold."""
    is_plain = not any(key in header for key in ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"))
    if is_plain and not header.get("PixelRepresentation") and "PixelData" in header and header.BitsStored in (1, 8):
        return 0.0, 2.0**header.BitsStored - 1
    return None
