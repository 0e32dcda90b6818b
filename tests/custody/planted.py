"""Images with identities planted wherever a file can hold one, and the search for what is left of them.

Shared by tests/custody/test_planted.py and benchmarks/deidentification.py. The traces know nothing of the code that
takes identities out: each part of each name in every character set and case.
"""

import io
import struct
import warnings
from dataclasses import dataclass

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin
from pydicom import config
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.custody.hospital import dicom, written

RNG = np.random.default_rng(13)
CODECS = (
    "ascii", "latin-1", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9", "tis-620",
    "shift_jis", "iso2022_jp", "euc_jp", "euc_kr", "iso2022_kr", "gb18030", "gbk", "utf-8", "utf-16-le", "utf-16-be",
    "cp1252",
)  # fmt: skip
LEAST_BYTES = 6


@dataclass(frozen=True)
class Person:
    """Somebody who must not be left anywhere."""

    name: str
    charset: str
    codec: str
    number: str

    def bytes(self, codec=""):
        """Name and number, as a device would write them."""
        return f"{self.name} {self.number}".encode(codec or self.codec, "ignore")

    def traces(self):
        """All spellings of all parts, those apart that are too short to be told from chance."""
        parts = {self.number, self.number[3:], self.name, *self.name.replace("=", "^").split("^")}
        cases = {
            case for part in parts for case in (part, part.upper(), part.lower(), part.title(), part.replace("^", " "))
        }
        spelled = {spelling for case in cases for codec in CODECS for spelling in _spellings(case, codec)}
        return {spelling for spelling in spelled if len(spelling) >= LEAST_BYTES}


def _spellings(text, codec):
    try:
        spelling = text.encode(codec)
    except UnicodeEncodeError:
        return ()
    return (spelling, spelling.replace(b"\x1b$B", b"").replace(b"\x1b(B", b""))


NAMES = (
    ("Quillfeather^Wilhelmina", "", "ascii"), ("Grünwäldchen^Sören", "ISO_IR 100", "latin-1"),
    ("Wiśniewska^Żanetta", "ISO_IR 101", "iso8859-2"), ("Люксембургова^Надежда", "ISO_IR 144", "iso8859-5"),
    ("قبانيقباني^لنزار", "ISO_IR 127", "iso8859-6"), ("Διονυσιοπουλος^Ελευθερια", "ISO_IR 126", "iso8859-7"),
    ("שרוןברגמן^דבורה", "ISO_IR 138", "iso8859-8"), ("Çağlayangil^Şükriye", "ISO_IR 148", "iso8859-9"),
    ("Yamadaoka^Tarounosuke=山田岡^太郎之助", "\\ISO 2022 IR 87", "iso2022_jp"),
    ("ﾔﾏﾀﾞｵｶ^ﾀﾛｳﾉｽｹ", "ISO_IR 13", "shift_jis"),
    ("Hongkyu^Gildonga=洪吉童^홍길동이", "\\ISO 2022 IR 149", "euc_kr"),
    ("王小东王小东^李建国", "GB18030", "gb18030"),
    ("Nguyễn Thị^Phương Thảo", "ISO_IR 192", "utf-8"),
    ("Kim^Ho", "", "ascii"),
)  # fmt: skip


def people(count):
    """As many people, no two with one number, names in turn."""
    return [Person(*NAMES[i % len(NAMES)], f"MRN{48213377000 + 7919 * i}") for i in range(count)]


# --- DICOM ----------------------------------------------------------------------------------------------------------


def pixels(kind=np.uint8, size=16):
    return RNG.integers(0, 200, (size, size)).astype(kind)


def whole(person, array=None, syntax=ExplicitVRLittleEndian, **elements):
    """A file of one person, with the names where they belong."""
    header = dicom(pixels() if array is None else array, syntax, **elements)
    header.preamble = person.bytes("utf-8")[:128].ljust(128)
    header.file_meta.SourceApplicationEntityTitle = person.number[:16]
    header.SpecificCharacterSet = person.charset.split("\\") if "\\" in person.charset else person.charset
    put(header, 0x00100010, "PN", person.name.encode(person.codec))
    put(header, 0x00100020, "LO", person.number.encode())
    return header


def put(header, tag, vr, content):
    """Any bytes as a value: what pydicom would not write."""
    content += b" " * (-len(content) % 8)  # of numbers of any size
    header._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(content), content, 0, False, True)


def file_of(header, behind=b""):
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        if header.file_meta.TransferSyntaxUID != ImplicitVRLittleEndian:
            _copy_bytes(header)
        return written(header) + behind


def _copy_bytes(header):
    """Let pydicom write values of `put` as they are, and not what it reads in them."""
    header.set_original_encoding(False, True, header._character_set)
    header._is_implicit_VR, header._is_little_endian = False, True
    for element in header._dict.values():
        for item in element.value if element.VR == "SQ" else ():
            _copy_bytes(item)


NEEDED = {0x00080005, 0x00080016, 0x00080018, 0x00100010, 0x00100020, 0x7FE00010, 0x7FE00008, 0x7FE00009, 0x0020000D}
TAGS = [
    tag
    for tag in DicomDictionary
    if tag >> 16 not in (0, 2, 4, 0xFFFE) and tag not in NEEDED and not 0x00280002 <= tag <= 0x00280103
]
"""Every attribute that a file can have; those apart without which it is no image."""
PART = 40


def elements(turn):
    """Attributes of the dictionary, PART in a file, each with the name in it, whatever it should hold."""
    return lambda person: file_of(_with_tags(person, TAGS[turn * PART % len(TAGS) :][:PART]))


def _with_tags(person, tags):
    header = whole(person)
    for tag in tags:
        vr = dictionary_VR(tag).split(" or ")[0]
        if vr == "SQ":
            header[tag] = DataElement(tag, "SQ", Sequence([_item(person)]))
        else:
            put(header, tag, vr, person.bytes()[:64])
    return header


def _item(person, depth=3):
    item = Dataset()
    for tag, vr in ((0x00100010, "PN"), (0x00080104, "LO"), (0x00081155, "UI"), (0x0040A160, "UT"), (0x00091010, "UN")):
        put(item, tag, vr, person.bytes())
    put(item, 0x00090010, "LO", person.bytes())
    if depth:
        item[0x0040A730] = DataElement(0x0040A730, "SQ", Sequence([_item(person, depth - 1)]))
        item[0x00282000 + depth] = DataElement(0x00282000 + depth, "OB", person.bytes() + b"\0")
        item[0x00091011] = DataElement(0x00091011, "SQ", Sequence([_item(person, depth - 1)]))
    return item


def private(person):
    header = whole(person)
    for group in (0x0009, 0x0019, 0x0029, 0x7FE1):
        for element, codec in (
            (0x10, ""),
            (0x1001, ""),
            (0x1002, "utf-16-le"),
            (0x1003, "utf-16-be"),
            (0x1004, "utf-8"),
        ):
            put(header, group << 16 | element, "LO" if element == 0x10 else "UN", person.bytes(codec))
        header[group << 16 | 0x1010] = DataElement(group << 16 | 0x1010, "SQ", Sequence([_item(person)]))
    for group in (0x5000, 0x6000, 0x601E):
        put(header, group << 16 | 0x3000, "OW", person.bytes() * 4)
        put(header, group << 16 | 0x0022, "LO", person.bytes())
    return file_of(header)


def nested(person):
    header = whole(person)
    for keyword in ("ReferencedImageSequence", "SharedFunctionalGroupsSequence",
                    "IconImageSequence", "DigitalSignaturesSequence", "OriginalAttributesSequence", "ContentSequence",
                    "AnatomicRegionSequence", "SourceImageSequence", "EncryptedAttributesSequence"):  # fmt: skip
        setattr(header, keyword, Sequence([_item(person)]))
    return file_of(header)


def tables(person):
    """Names in the explanation of a look-up table, and behind the entries of one that is for display."""
    header = whole(person)
    for keyword, slack in (("ModalityLUTSequence", b""), ("VOILUTSequence", person.bytes())):
        item = Dataset()
        item[0x00283002], item.ModalityLUTType = DataElement(0x00283002, "US", [256, 0, 16]), "US"
        put(item, 0x00283003, "LO", person.bytes()[:64])
        put(item, 0x00283006, "OW", np.arange(256, dtype="<u2").tobytes() + slack)
        setattr(header, keyword, Sequence([item]))
    return file_of(header)


def palette(person):
    header = whole(person)
    header.PhotometricInterpretation = "PALETTE COLOR"
    put(header, 0x00281199, "UI", person.bytes()[:64])
    for tag in (0x00281101, 0x00281102, 0x00281103):
        header[tag] = DataElement(tag, "US", [256, 0, 16])
        put(header, tag + 0x100, "OW", bytes(512))
        put(header, tag + 0x120, "OW", person.bytes())
    return file_of(header)


def uids(person):
    header, digits = whole(person), person.number[3:]
    for tag, root in ((0x00080018, "1.2.840.10008."), (0x0020000D, "1.2.840.10008.5.1.4.1.1.1."), (0x0020000E, "1.3.")):
        put(header, tag, "UI", f"{root}{digits}".encode())
    put(header, 0x00080016, "UI", f"1.2.840.10008.5.1.4.1.1.1.{digits}".encode())
    put(header, 0x00080018, "UI", person.bytes()[:64])
    return file_of(header)


def meta(person):
    header = whole(person)
    for tag, vr in ((0x00020013, "SH"), (0x00020016, "AE"), (0x00020102, "OB"), (0x00020017, "AE"), (0x00020100, "UI")):
        put(header.file_meta, tag, vr, person.bytes()[:16])
    return file_of(header)


def behind(person):
    """Behind the pixels, behind the data set, in its padding."""
    header = whole(person)
    header.PixelData += person.bytes() + b" " * (len(person.bytes()) % 2)
    put(header, 0xFFFCFFFC, "OB", person.bytes())
    return file_of(header, person.bytes() * 2)


def unused_bits(person):
    """A letter above each pixel."""
    letters = np.resize(np.frombuffer(person.bytes() + b" ", np.uint8), (16, 16)).astype(np.uint16)
    return file_of(whole(person, pixels(np.uint16) | letters << 8, BitsStored=8, HighBit=7))


def in_syntax(syntax):
    def make(person):
        header = whole(person, syntax=syntax)
        header.PatientComments, header.ImageComments = person.number, person.number
        header.PixelData += person.bytes() + b" " * (len(person.bytes()) % 2)
        if syntax == DeflatedExplicitVRLittleEndian:
            put(header, 0x00091001, "UN", person.bytes("utf-16-le"))
        return file_of(header)

    return make


def in_pixels(case):
    """The name spelled by the pixels: nothing but refusing helps."""

    def make(person):
        text = person.name.split("=")[0].encode(person.codec)
        text = getattr(text, case)().ljust(256)
        return file_of(whole(person, np.frombuffer(text, np.uint8).reshape(16, 16)))

    return make


# --- compressed pixels ----------------------------------------------------------------------------------------------


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def in_jpeg(stream, person):
    """A JPEG of any process with names in every marker that holds text."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = person.number, person.number
    exif.get_ifd(0x8825)[0x1B] = person.bytes()
    added = [segment(0xFE, person.bytes(codec)) for codec in ("", "utf-8", "utf-16-le", "utf-16-be")]
    added += [
        segment(0xE1, b"Exif\0\0" + exif.tobytes()),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + person.bytes()),
    ]
    added += [segment(0xED, b"Photoshop 3.0\0" + person.bytes()), segment(0xE5, person.bytes())]
    return stream[:2] + b"".join(added) + stream[2:] + person.bytes()


def in_2000(stream, person):
    """A comment in front of the first tile; boxes around a codestream that has any."""
    at, start = stream.index(b"\xff\x90"), stream.find(b"jp2c") - 4
    comment = b"\xff\x64" + struct.pack(">HH", len(person.bytes()) + 4, 1) + person.bytes()
    if start < 0:
        return stream[:at] + comment + stream[at:] + person.bytes()
    box = struct.pack(">I", len(person.bytes()) + 24) + b"uuid" + bytes(16) + person.bytes()
    length = struct.pack(">I", len(stream) - start + len(comment))
    boxes = box + box.replace(b"uuid", b"xml ", 1)
    return stream[:start] + boxes + length + stream[start + 4 : at] + comment + stream[at:]


def compressed(name):
    def make(person):
        grey = pixels(size=32)
        stream, syntax = {
            "jpeg": lambda: (in_jpeg(imagecodecs.jpeg_encode(grey, level=90), person), JPEGBaseline8Bit),
            "lossless": lambda: (in_jpeg(imagecodecs.ljpeg_encode(grey), person), JPEGLosslessSV1),
            "jls": lambda: (in_jpeg(imagecodecs.jpegls_encode(grey), person), JPEGLSLossless),
            "j2k": lambda: (in_2000(_2000(grey, "j2k"), person), JPEG2000Lossless),
            "jp2": lambda: (in_2000(_2000(grey, "jp2"), person), JPEG2000Lossless),
            "rle": lambda: (_rle(grey, person), RLELossless),
        }[name]()
        header = whole(person, grey, syntax)
        header.PixelData = encapsulate([stream, person.bytes() * 3], has_bot=name != "jpeg")  # no frame uses the second
        if name == "jpeg":  # offsets and lengths of frames, and more of them than there are frames
            put(header, 0x7FE00001, "OV", bytes(8) + person.bytes())
            put(header, 0x7FE00002, "OV", struct.pack("<Q", len(stream) + len(stream) % 2) + person.bytes())
        header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
        return file_of(header)

    return make


def _2000(grey, container):
    return imagecodecs.jpeg2k_encode(grey, level=0, reversible=True, codecformat=container)


def _rle(grey, person):
    """One segment of literal runs; names in the rest of the header, and behind."""
    runs = b"".join(b"\x1f" + row.tobytes() for row in grey)
    return struct.pack("<II", 1, 64) + person.bytes()[:56].ljust(56, b"\0") + runs + person.bytes()


# --- PNG, JPEG, TIFF ------------------------------------------------------------------------------------------------


def png(person):
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", person.number)
    text.add_text("Comment", person.number, zip=True)
    text.add_itxt("Name", person.name, lang="x")
    text.add(b"prVt", person.bytes())
    exif = Image.Exif()
    exif[0x010E] = person.number
    Image.fromarray(pixels()).save(content := io.BytesIO(), "PNG", pnginfo=text, exif=exif)
    return content.getvalue() + person.bytes()


def jpeg(person):
    return in_jpeg(imagecodecs.jpeg_encode(pixels(), level=90), person)


def tiff(person):
    tags = [
        (700, 1, None, person.bytes(), True),
        (33723, 1, None, person.bytes(), True),
        (65000, 7, None, person.bytes(), True),
    ]
    tags += [(315, 2, None, person.number, True), (316, 2, None, person.number, True)]
    with tifffile.TiffWriter(content := io.BytesIO()) as file:
        hidden = np.frombuffer(person.bytes().ljust(256), np.uint8).reshape(16, 16)
        file.write(hidden, subfiletype=1, description=person.number, metadata=None)
        file.write(pixels(), description=person.number, software=person.number, extratags=tags, metadata=None)
        file.write(hidden, subfiletype=1, description=person.number, metadata=None)
    return content.getvalue() + person.bytes()


DICOM = {
    "private": private, "nested": nested, "tables": tables, "palette": palette, "uids": uids, "meta": meta,
    "behind": behind, "unused bits": unused_bits,
    **{f"in {s.name}": in_syntax(s) for s in (DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian)},
    **{f"compressed {name}": compressed(name) for name in ("jpeg", "lossless", "jls", "j2k", "jp2", "rle")},
}  # fmt: skip
PICTURES = {"png": png, "jpg": jpeg, "tif": tiff}
SPELLED = {f"pixels {case}": in_pixels(case) for case in ("upper", "lower", "swapcase")}
