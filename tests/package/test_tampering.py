"""More ways to change a package, byte by byte, number by number, key by key: none of them is taken."""

import gzip
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.prediction import trust
from common.errors import DataError, PackageError
from common.package import load_verified_package
from common.package.package_file import ARRAYS, CARD, DOCUMENT, PAGE
from common.storage import tensorfile
from common.trust.documents import SignedDocument, sign_document
from common.trust.keys import public_of
from common.types import under
from tests.package.shop import KEY, Made, packed, put, taken

STRANGER = Ed25519PrivateKey.from_private_bytes(b"a stranger who takes what he can")
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group."""


def at(file: bytes, place: int, form: str, value: Any) -> bytes:
    """The file with a number of a struct format put somewhere."""
    return file[:place] + struct.pack(form, value) + file[place + struct.calcsize(form) :]


# --- the archive ----------------------------------------------------------------------------------------------------


def rezipped(svm: Made, change: Callable[[zipfile.ZipInfo], None], name: str = CARD) -> bytes:
    """By Python's zipfile, which writes what this program does but for `change`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for each, content in svm.shared.members.items():
            info = zipfile.ZipInfo(each)
            info.create_system, info.external_attr = 0, 0
            if each == name:
                change(info)
            opened.writestr(info, content)
    return out.getvalue()


def attribute(name: str, value: Any) -> Callable[[Made], bytes]:
    return lambda svm: rezipped(svm, lambda info: setattr(info, name, value))


def header(mark: bytes, offset: int, form: str, value: Any, which: int = 2) -> Callable[[Made], bytes]:
    """A field of the local or central header of the card, or of the end."""

    def change(svm: Made) -> bytes:
        file, place = svm.file, -1
        if mark == END:
            return at(file, file.rfind(END) + offset, form, value)
        name = list(svm.shared.members)[which].encode()
        size = 30 if mark == LOCAL else 46
        place = file.find(name, 0 if mark == LOCAL else file.find(CENTRAL))
        while file[place - size : place - size + 4] != mark:
            place = file.find(name, place + 1)
        return at(file, place - size + offset, form, value)

    return change


def zip64(svm: Made) -> bytes:
    end = svm.file.rfind(END)
    many, size, start = struct.unpack_from("<H", svm.file, end + 10)[0], *struct.unpack_from("<II", svm.file, end + 12)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, many, many, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    return svm.file[:end] + record + locator + svm.file[end:]


def prefixed(svm: Made, stub: bytes = b"#!/bin/sh\nexit 1\n") -> bytes:
    """A stub in front, and all offsets moved: still a good zip archive."""
    end = svm.file.rfind(END)
    start = struct.unpack_from("<I", svm.file, end + 16)[0]
    file, place = bytearray(stub + svm.file), start + len(stub)
    while file[place : place + 4] == CENTRAL:
        name, extra, comment = struct.unpack_from("<HHH", file, place + 28)
        struct.pack_into("<I", file, place + 42, struct.unpack_from("<I", file, place + 42)[0] + len(stub))
        place += 46 + name + extra + comment
    struct.pack_into("<I", file, place + 16, start + len(stub))
    assert zipfile.ZipFile(io.BytesIO(bytes(file))).testzip() is None
    return bytes(file)


def hidden(svm: Made) -> bytes:
    """A member that the directory does not list."""
    start = struct.unpack_from("<I", svm.file, svm.file.rfind(END) + 16)[0]
    extra = packed({"more.txt": b"hello"})
    extra = extra[: extra.find(CENTRAL)]
    file = svm.file[:start] + extra + svm.file[start:]
    return at(file, file.rfind(END) + 16, "<I", start + len(extra))


def listed_twice(svm: Made) -> bytes:
    end = svm.file.rfind(END)
    size, start = struct.unpack_from("<II", svm.file, end + 12)
    entry = svm.file[start : start + 46 + len(DOCUMENT)]
    many = len(svm.shared.members) + 1
    tail = struct.pack("<4sHHHHIIH", END, 0, 0, many, many, size + len(entry), start, 0)
    return svm.file[:end] + entry + tail


def renamed(old: str, new: str) -> Callable[[Made], bytes]:
    return lambda svm: svm.file.replace(old.encode(), new.encode())


ARCHIVES: dict[str, Callable[[Made], bytes]] = {
    "zip64 records": zip64,
    "a stub in front, offsets moved": prefixed,
    "a member hidden from the directory": hidden,
    "a member listed twice": listed_twice,
    "an archive comment of the right length": lambda m: at(m.file, len(m.file) - 2, "<H", 5) + b"hello",
    "another archive behind": lambda m: m.file + packed({"card.md": b"# harmless\n"}),
    "another archive in front": lambda m: packed({"card.md": b"# harmless\n"}) + m.file,
    "itself twice": lambda m: m.file * 2,
    "a package in a package": lambda m: packed({"package.zip": m.file}),
    "gzip around it": lambda m: gzip.compress(m.file),
    "an extra field": attribute("extra", struct.pack("<HHI", 0xCAFE, 4, 1)),
    "a comment on a member": attribute("comment", b"hello"),
    "a time": attribute("date_time", (2024, 5, 6, 7, 8, 10)),
    "a symbolic link": attribute("external_attr", 0o120777 << 16),
    "an executable": attribute("external_attr", 0o755 << 16),
    "made by unix": attribute("create_system", 3),
    "one member compressed": attribute("compress_type", zipfile.ZIP_DEFLATED),
    "a checksum that is wrong in front": header(LOCAL, 14, "<I", 1),
    "a checksum that is wrong in the directory": header(CENTRAL, 16, "<I", 1),
    "said to be encrypted": header(LOCAL, 6, "<H", 1),
    "sizes behind the member": header(LOCAL, 6, "<H", 8),
    "said to be UTF-8": header(CENTRAL, 8, "<H", 0x800),
    "a size that lies in the directory": header(CENTRAL, 24, "<I", 3),
    "a size of zip64": header(LOCAL, 22, "<I", 0xFFFFFFFF),
    "another member's place": header(CENTRAL, 42, "<I", 0),
    "a place beyond the end": header(CENTRAL, 42, "<I", 0x7FFFFFFF),
    "another disk": header(END, 4, "<H", 1),
    "fewer members than there are": header(END, 10, "<H", 1),
    "more members than there are": header(END, 10, "<H", 60000),
    "a directory elsewhere": header(END, 16, "<I", 0),
    "a name in capitals": renamed("card.md", "CARD.md"),
    "a folder": renamed("card.md", "c/rd.md"),
    "a drive": renamed("card.md", "c:rd.md"),
    "a folder of Windows": renamed("card.md", "c\\rd.md"),
    "an end of text in a name": renamed("card.md", "card.m\0"),
    "a hidden file": renamed("card.md", ".ard.md"),
    "a Cyrillic letter": lambda m: m.file.replace(b"card.md", "\u0441ar.md".encode()),
    "two names in two cases": lambda m: packed(dict(m.shared.members) | {"Card.md": b"x"}),
    "seventeen members": lambda m: packed(dict(m.shared.members) | {f"{chr(97 + i)}.md": b"" for i in range(12)}),
    "an empty archive": lambda m: END + bytes(18),
    "the paper last": lambda m: packed({n: m.shared.members[n] for n in [*list(m.shared.members)[1:], DOCUMENT]}),
    "no paper": lambda m: packed({n: c for n, c in m.shared.members.items() if n != DOCUMENT}),
    "no page": lambda m: packed({n: c for n, c in m.shared.members.items() if n != PAGE}),
}


# --- the paper under the old signature ------------------------------------------------------------------------------


def respelt(svm: Made, change: Callable[[str], bytes]) -> bytes:
    told = change(svm.shared.members[DOCUMENT].decode())
    return packed(dict(svm.shared.members) | {DOCUMENT: told})


def edited(svm: Made, change: Callable[[dict[str, Any]], object]) -> bytes:
    told = json.loads(svm.shared.members[DOCUMENT])
    change(told)
    return respelt(svm, lambda _: (json.dumps(told, indent=1) + "\n").encode())


def turned(told: str) -> bytes:
    whole = json.loads(told)
    whole["content"] = dict(reversed(whole["content"].items()))
    return (json.dumps(whole, indent=1) + "\n").encode()


def longer_signature(paper: dict[str, Any]) -> None:
    """S + L signs the same message, where a verifier does not look."""
    [(key, value)] = paper["signatures"].items()
    s = int.from_bytes(bytes.fromhex(value)[32:], "little") + ORDER
    paper["signatures"][key] = value[:64] + s.to_bytes(32, "little").hex()


def foreign(paper: dict[str, Any]) -> None:
    """A stranger's signature under the publisher's key."""
    digest = SignedDocument("package", paper["content"], {}).digest
    paper["signatures"] = {public_of(KEY).hex(): STRANGER.sign(digest).hex()}


def both_names(paper: dict[str, Any]) -> None:
    paper["content"]["publisher"]["roots"].append(public_of(STRANGER).hex())
    both = sign_document("package", paper["content"], [STRANGER]).to_json()["signatures"]
    paper["signatures"] |= both


PAPERS: dict[str, Callable[[Made], bytes]] = {
    "keys in another order": lambda m: respelt(m, turned),
    "no spaces": lambda m: respelt(m, lambda t: json.dumps(json.loads(t), separators=(",", ":")).encode()),
    "no line end": lambda m: respelt(m, lambda t: t.rstrip().encode()),
    "a line end of Windows": lambda m: respelt(m, lambda t: t.replace("\n", "\r\n").encode()),
    "a byte order mark": lambda m: respelt(m, lambda t: b"\xef\xbb\xbf" + t.encode()),
    "UTF-16": lambda m: respelt(m, lambda t: t.encode("utf-16")),
    "letters spelt out": lambda m: respelt(m, lambda t: t.replace('"disease"', '"\\u0064isease"', 1).encode()),
    "a number spelt otherwise": lambda m: respelt(
        m, lambda t: t.replace('"format": 1', '"format": 1.0', 1).encode()
    ),
    "a number with an exponent": lambda m: respelt(m, lambda t: t.replace('"format": 1', '"format": 1e0', 1).encode()),
    "a key twice": lambda m: respelt(m, lambda t: t.replace('"format": 1', '"format": 2,\n  "format": 1', 1).encode()),
    "a comment in JSON": lambda m: respelt(m, lambda t: b"/* hello */" + t.encode()),
    "something behind the JSON": lambda m: respelt(m, lambda t: t.encode() + b"{}"),
    "deep": lambda m: respelt(m, lambda t: b"[" * 100_000),
    "no number": lambda m: edited(m, put("content", "threshold", value=float("nan"))),
    "an infinite limit": lambda m: edited(m, put("content", "likeness", "limit", value=float("inf"))),
    "a number without an end": lambda m: respelt(
        m, lambda t: t.replace('"format": 1', '"format": 1' + "0" * 5000, 1).encode()
    ),
    "a class in Cyrillic": lambda m: edited(m, put("content", "labels", 1, value="dise\u0430se")),
    "a class with nothing between its letters": lambda m: edited(m, put("content", "labels", 1, value="dis\u200bease")),
    "a class that turns the line": lambda m: edited(m, put("content", "labels", 1, value="\u202eesaesid")),
    "classes changed over": lambda m: edited(m, lambda p: p["content"]["labels"].reverse()),
    "truth for a number": lambda m: edited(m, put("content", "threshold", value=True)),
    "an operating point half a digit on": lambda m: edited(
        m, lambda p: p["content"].update(threshold=float(np.nextafter(p["content"]["threshold"], 9)))
    ),
    "a likely slope": lambda m: edited(m, put("content", "calibration", 0, "slope", value=9.5)),
    "a wide limit": lambda m: edited(m, put("content", "likeness", "limit", value=31.0)),
    "another name": lambda m: edited(m, put("content", "name", value="version-2")),
    "another release": lambda m: edited(m, put("content", "provenance", "release", value="99.0")),
    "another day": lambda m: edited(m, put("content", "provenance", "exported_s", value=2e9)),
    "another site": lambda m: edited(m, put("content", "provenance", "sites", 0, value="Charit\u00e9")),
    "another publisher's name": lambda m: edited(m, put("content", "publisher", "name", value="pilot")),
    "another kind of paper": lambda m: edited(m, put("paper", value="plan")),
    "a key beside the content": lambda m: edited(m, put("note", value="checked by the ministry")),
    "a signature of S + L": lambda m: edited(m, lambda p: longer_signature(p)),
    "a stranger's signature under the publisher's key": lambda m: edited(m, foreign),
    "a stranger's signature beside the publisher's": lambda m: edited(
        m, lambda p: p["signatures"].update({public_of(STRANGER).hex(): "00" * 64})
    ),
    "a stranger among the roots": lambda m: edited(m, both_names),
    "the publisher twice": lambda m: edited(
        m, put("content", "publisher", "roots", value=[public_of(KEY).hex()] * 2)
    ),
    "a key of small order": lambda m: edited(
        m, lambda p: (p["content"]["publisher"].update(roots=["01" + "00" * 31]),
                      p.update(signatures={"01" + "00" * 31: "01" + "00" * 63}))
    ),
    "no signatures": lambda m: edited(m, lambda p: p.pop("signatures")),
    "signatures in a list": lambda m: edited(m, put("signatures", value=["00" * 64])),
    "an empty signature": lambda m: edited(m, put("signatures", public_of(KEY).hex(), value="")),
}  # fmt: skip


# --- what even the publisher's key does not make right --------------------------------------------------------------


def resigned(svm: Made, change: Callable[[dict[str, Any]], object], arrays: bytes = b"", key: Any = KEY) -> bytes:
    """Signed anew, with all digests as they then are."""
    members = dict(svm.shared.members) | ({ARRAYS: arrays} if arrays else {})
    content = json.loads(members[DOCUMENT])["content"]
    content["members"] = {n: hashlib.sha256(c).hexdigest() for n, c in members.items() if n != DOCUMENT}
    change(content)
    return packed(members | {DOCUMENT: sign_document("package", content, [key]).encode()})


def tensors(svm: Made, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Other arrays, their digest in the provenance as well."""
    arrays, _ = tensorfile.unpack(svm.shared.members[ARRAYS])
    change(arrays)
    digest = hashlib.sha256(tensorfile.pack(under("weights", arrays), {})).hexdigest()
    return resigned(svm, put("provenance", "weights", value=digest), tensorfile.pack(arrays, {}))


def raw(svm: Made, change: Callable[[dict[str, Any]], object], more: bytes = b"", *, pad: int = 0) -> bytes:
    """Another header of the safetensors file over the same numbers."""
    file = svm.shared.members[ARRAYS]
    length = struct.unpack_from("<Q", file)[0]
    told = json.loads(file[8 : 8 + length])
    change(told)
    head = json.dumps(told, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8 + pad)
    return resigned(svm, lambda _: None, struct.pack("<Q", len(head)) + head + file[8 + length :] + more)


def weight(arrays: Mapping[str, Any]) -> str:
    return next(name for name in arrays if name.startswith("weights/alpha"))


def scaled(factor: Any) -> Callable[[dict[str, Any]], object]:
    return lambda a: a.update({weight(a): a[weight(a)] * factor})


def typed(kind: Any) -> Callable[[dict[str, Any]], object]:
    return lambda a: a.update({weight(a): a[weight(a)].astype(kind)})


def like(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda a: a.update({f"likeness/{name}": value})


def moved(told: dict[str, Any], by: int) -> None:
    name = weight(told)
    told[name]["data_offsets"] = [place + by for place in told[name]["data_offsets"]]


INSIDE: dict[str, Callable[[Made], bytes]] = {
    "weights that are no numbers": lambda m: tensors(m, scaled(np.nan)),
    "weights without an end": lambda m: tensors(m, scaled(np.inf)),
    "weights as halves": lambda m: tensors(m, typed(np.float16)),
    "weights as whole numbers": lambda m: tensors(m, typed(np.int64)),
    "weights as truth": lambda m: tensors(m, typed(np.bool_)),
    "an array of no group": lambda m: tensors(m, lambda a: a.update(payload=np.zeros(3))),
    "an array of a group that is none": lambda m: tensors(m, lambda a: a.update({"weight/x": np.zeros(3)})),
    "weights elsewhere than the provenance says": lambda m: raw(m, lambda t: moved(t, 8)),
    "arrays that lie over each other": lambda m: raw(m, lambda t: moved(t, -8)),
    "a hole": lambda m: raw(m, lambda _: None, bytes(64)),
    "a header with spaces": lambda m: raw(m, lambda _: None, pad=64),
    "a header that says more": lambda m: raw(m, lambda t: t["__metadata__"].update(note="hello")),
    "arrays in another order": lambda m: raw(m, lambda t: [t.update({n: t.pop(n)}) for n in list(t)[::-1]]),
    "a shape that is too large": lambda m: raw(m, lambda t: t[weight(t)].update(shape=[2**40, 2**40])),
    "a kind that is none": lambda m: raw(m, lambda t: t[weight(t)].update(dtype="O")),
    "sums over no image": lambda m: tensors(m, like("n", np.zeros(1))),
    "sums that no image has": lambda m: tensors(m, lambda a: a.update({"likeness/sum": a["likeness/sum"] * 1e300})),
    "sums of another length": lambda m: tensors(m, like("sum", np.zeros(3))),
    "one class twice": lambda m: resigned(m, put("labels", value=["disease", "disease"])),
    "calibration of another class": lambda m: resigned(m, put("calibration", 0, "label", value=0)),
    "calibration of a class that is none": lambda m: resigned(m, put("calibration", 0, "label", value=7)),
    "bins without counts": lambda m: resigned(m, put("calibration", 0, "inside", value=[])),
    "bins that fall": lambda m: resigned(m, lambda c: c["calibration"][0]["bins"].reverse()),
    "a digest of a member that is none": lambda m: resigned(m, put("members", "x.md", value="0" * 64)),
    "a recipe that the sites did not share": lambda m: resigned(m, put("preprocess", value=[])),
    "a step more": lambda m: resigned(m, lambda c: c["preprocess"].append({"step": "mean", "size": 3})),
    "signed by a stranger under the publisher's name": lambda m: resigned(
        m, put("publisher", "roots", value=[public_of(STRANGER).hex()]), key=STRANGER
    ),
}  # fmt: skip


@pytest.mark.parametrize("ways", [ARCHIVES, PAPERS, INSIDE], ids=["archive", "paper", "inside"])
def test_no_change_is_taken(svm: Made, ways: Mapping[str, Callable[[Made], bytes]]) -> None:
    assert taken(svm, ways) == []


def test_what_this_test_signs_anew_is_else_a_good_package(svm: Made) -> None:
    assert (
        load_verified_package(tensors(svm, lambda _: None), "p", [public_of(KEY)]).weights.keys()
        == svm.shared.weights.keys()
    )
    assert load_verified_package(raw(svm, lambda _: None), "p").digest


def test_parts_of_two_packages_make_none(svm: Made, cnn: Made) -> None:
    one, other = dict(svm.shared.members), dict(cnn.shared.members)
    mixed = [one | {name: other[name]} for name in one]
    papers = [json.loads(members[DOCUMENT]) for members in (one, other)]
    papers[0]["signatures"] = papers[1]["signatures"]
    mixed.append(one | {DOCUMENT: (json.dumps(papers[0], indent=1) + "\n").encode()})
    for members in mixed:
        with pytest.raises(PackageError):
            load_verified_package(packed(members), "p", [public_of(KEY)])


@pytest.mark.parametrize("change", [
    put("shape", value=[16, 64, 1]), put("shape", value=[32, 32, 3]), put("labels", value=["a", "b", "c"]),
    put("model", value={"kind": "svm", "features": "fourier", "dimension": 64, "seed": 1}),
    put("model", value={"kind": "cnn", "architecture": "groupnorm", "width": 4}),
])  # fmt: skip
def test_weights_of_another_model_are_refused(svm: Made, change: Callable[[dict[str, Any]], None]) -> None:
    """The publisher's own mistake, which nobody else could make."""

    def all_of_it(content: dict[str, Any]) -> None:
        change(content)
        if len(content["labels"]) > 2:
            content["calibration"] = []

    def used() -> object:
        shared = load_verified_package(resigned(svm, all_of_it), "p")
        return shared.scores(shared.model(), np.zeros((1, 32, 32, 1), np.float32))

    with pytest.raises((PackageError, DataError)):
        used()


def test_a_stranger_under_a_known_name_is_told_apart(svm: Made, tmp_path: Path) -> None:
    """Without a fingerprint that was read out nobody is asked, lest a name be taken for a person."""
    remembered = tmp_path / "p.json"
    assert trust.settle(svm.shared, tmp_path, svm.shared.fingerprint, remembered)
    stranger = load_verified_package(
        resigned(svm, put("publisher", "roots", value=[public_of(STRANGER).hex()]), key=STRANGER), "p"
    )
    assert stranger.fingerprint != svm.shared.fingerprint
    with pytest.raises(PackageError, match="whom this site knows by other keys"):
        trust.settle(stranger, tmp_path, None, remembered)
    with pytest.raises(PackageError, match="not signed by a publisher that is trusted here"):
        trust.settle(stranger, tmp_path, svm.shared.fingerprint, remembered)
    assert trust.settle(stranger, tmp_path, stranger.fingerprint, remembered)  # new keys, read out by telephone
    for one in (svm.shared, stranger):
        assert "compared here before" in trust.settle(one, tmp_path, None, remembered)
