"""A whole round, frozen, and verified by a second implementation that is as simple as can be: no classes, no NumPy.

It shares no code with the first. Field by field it follows docs/secure-aggregation.md.

CONSILIUM_FREEZE=1 python -m pytest tests/secagg/test_frozen_round.py    writes the round anew, after a wanted change
"""

import hashlib
import hmac
import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period_plan import QuestionKind
from tests.secagg.world import QUESTION, World

FROZEN = Path(__file__).with_name("frozen-round.bin")
ANSWER = FROZEN.with_suffix(".json")
P = 2**255 - 19


def frozen_world() -> tuple[World, list[int]]:
    """Five sites, keys for two rounds, one dropout in the second: the same bytes every time."""
    layout = Layout((Segment("delta", (2, 3), 1.0, 12, weighted=True), Segment("weight", (1,), 500.0, 0)), 32, 500.0)
    world = World.of(5, rounds=2, exchanges={"train": QuestionKind(layout)}, seed="frozen")
    world.open_key_period()
    vectors = {}
    for i, name in enumerate(world.sites):
        values = np.arange(6, dtype=np.float32).reshape(2, 3) / 5 - i / 4
        key = hashlib.sha256(name.encode()).digest()
        vectors[name] = layout.encode({"delta": values, "weight": np.array([100.0 + i])}, 100.0 + i, key)
    total = world.round(vectors, slot=1, no_vector=["site-003"])
    return world, [int(w) for w in total.words]


def test_the_protocol_still_gives_the_frozen_bytes() -> None:
    world, total = frozen_world()
    if os.environ.get("CONSILIUM_FREEZE"):
        FROZEN.write_bytes(world.framed_transcript())
        ANSWER.write_text(json.dumps({"sum": total, "root": world.pins.roots[0].hex()}) + "\n", encoding="utf-8")
    assert world.framed_transcript() == FROZEN.read_bytes()
    assert total == json.loads(ANSWER.read_text(encoding="utf-8"))["sum"]


def test_a_second_implementation_verifies_the_frozen_round() -> None:
    answer = json.loads(ANSWER.read_text(encoding="utf-8"))
    assert verify(FROZEN.read_bytes(), bytes.fromhex(answer["root"])) == answer["sum"]


# --- the second implementation ---------------------------------------------------------------------------------------


def verify(file: bytes, root: bytes) -> list[int]:
    """Check every signature and every commitment of a transcript, and work out its sum."""
    entries = []
    while file:
        (length,) = struct.unpack_from("<Q", file)
        entries.append(file[8 : 8 + length])
        file = file[8 + length :]
    roster, proposal, directory, start, *rest = entries

    content_length = struct.unpack_from("<I", roster)[0]
    content, signatures = roster[4 : 4 + content_length], roster[4 + content_length :]
    assert signatures[:2] == b"\1\0"
    assert signatures[2:34] == root
    check_signature(root, signatures[34:], H("roster", content))
    keys = roster_keys(content)

    period_ctx, cohort, threshold = H("epoch", proposal), *cohort_and_threshold(proposal)
    adverts = directory_of(directory)
    for i, advert in adverts.items():
        body = advert[39:-64]
        check_signature(keys[cohort[i]], advert[-64:], H("Advert", period_ctx, u16(i), body))
        assert advert[5:37] == period_ctx
    view = H("view", period_ctx, *(H("advert", advert) for advert in adverts.values()))
    slot, kind_length = struct.unpack_from("<HH", start, 5)
    kind, question = start[9 : 9 + kind_length], start[9 + kind_length :]
    assert question == QUESTION
    round_ctx = H("round", view, u16(slot), kind, question)

    survivors, commitment, sketches = [], b"", {}
    for message in rest[:-2]:
        assert message[:4] == b"CSA2"
        assert message[5:37] == round_ctx
        if message[4] == 9:
            members, commitment = message[37:-32], message[-32:]
            survivors = [u16_at(members, 2 + 2 * i) for i in range(u16_at(members, 0))]
            continue
        sender, body, signature = u16_at(message, 37), message[39:-64], message[-64:]
        assert message[4] == 10
        check_signature(keys[cohort[sender]], signature, H("Agreement", round_ctx, u16(sender), body))
        assert body[: len(members) + 32] == members + commitment
        sketches[sender] = [signed(body[-256:][32 * j :][:32]) for j in range(8)]
    assert len(sketches) >= threshold
    assert sorted(sketches) == survivors, "every survivor's sketch is there, so no vector is"

    seeds, summed = rest[-2:]
    assert (seeds[4], summed[4]) == (13, 14)
    count = struct.unpack_from("<I", summed, 37)[0]
    low, carry = summed[41 : 41 + 4 * count], summed[41 + 4 * count :]
    assert commitment == H("sum", struct.pack("<Q", count), vector_hash(low), vector_hash(carry))
    total = list(struct.unpack(f"<{count}I", low))
    exact = [value + (above << 32) for value, above in zip(total, carry, strict=True)]
    key = H("sketch", round_ctx, b"".join(map(u16, survivors)), commitment)
    assert [sum(column) for column in zip(*sketches.values(), strict=True)] == sketch(key, exact)

    for place, i in enumerate(adverts):
        seed = seeds[41 + 31 * place :][:31]
        mask_key, commitment = adverts[i][75 + 64 * slot :][:32], adverts[i][107 + 64 * slot :][:32]
        if i in survivors:
            assert H("self-mask", period_ctx, u16(i) + u16(slot), seed) == commitment
            pad = mask(hkdf(seed, round_ctx, b"self-mask"), len(total))
            total = [(a - b) % 2**32 for a, b in zip(total, pad, strict=True)]
            continue
        private = hkdf(seed, period_ctx, b"mask-key" + u16(slot))
        assert x25519(private, (9).to_bytes(32, "little")) == mask_key
        for j in survivors:
            secret = x25519(private, adverts[j][75 + 64 * slot :][:32])
            pad = mask(hkdf(secret, round_ctx, b"pair-mask" + u16(min(i, j)) + u16(max(i, j))), len(total))
            sign = 1 if i < j else -1
            total = [(a + sign * b) % 2**32 for a, b in zip(total, pad, strict=True)]
    return total


def H(label: str, *fields: bytes) -> bytes:  # noqa: N802
    content = b""
    for field in (b"consilium/secagg/%d/" % (1 if label == "roster" else 2) + label.encode(), *fields):
        content += struct.pack("<Q", len(field)) + field
    return hashlib.sha256(content).digest()


def u16(n: int) -> bytes:
    return struct.pack("<H", n)


def u16_at(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<H", data, at)[0])


def check_signature(public: bytes, signature: bytes, statement: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(public).verify(signature, statement)


def roster_keys(content: bytes) -> dict[str, bytes]:
    at = 5
    at += 2 + u16_at(content, at) + 8 + 8 + 2 + 8 + 8
    purposes, at = u16_at(content, at), at + 2
    for _ in range(purposes):
        at += 2 + u16_at(content, at)
    members, at, keys = u16_at(content, at), at + 2, {}
    for _ in range(members):
        length = u16_at(content, at)
        keys[content[at + 2 : at + 2 + length].decode()] = content[at + 2 + length : at + 34 + length]
        at += 2 + length + 33
    assert at == len(content)
    return keys


def cohort_and_threshold(proposal: bytes) -> tuple[list[str], int]:
    at = 5
    at += 2 + u16_at(proposal, at) + 16 + 8 + 32 + 32
    at += 2 + u16_at(proposal, at)
    size, at, cohort = u16_at(proposal, at), at + 2, []
    for _ in range(size):
        length = u16_at(proposal, at)
        cohort.append(proposal[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return cohort, u16_at(proposal, at)


def directory_of(message: bytes) -> dict[int, bytes]:
    adverts, at = {}, 7
    for _ in range(u16_at(message, 5)):
        (length,) = struct.unpack_from("<I", message, at)
        advert = message[at + 4 : at + 4 + length]
        adverts[u16_at(advert, 37)] = advert
        at += 4 + length
    return adverts


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, b"consilium/secagg/2/" + info + b"\1", "sha256")


def stream(key: bytes, counters: Iterable[bytes]) -> bytes:
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    return b"".join(map(block.update, counters))


def mask(key: bytes, words: int) -> list[int]:
    """Of one leaf, whose number is 0: the counter begins at 2, as in GCM."""
    assert words <= 2**16
    data = stream(key, (struct.pack(">QII", 0, 0, 2 + i) for i in range(-(-words // 4))))
    return list(struct.unpack(f"<{words}I", data[: 4 * words]))


def vector_hash(data: bytes) -> bytes:
    leaf_hashes = b"".join(blake3(data[i : i + 2**18]).digest() for i in range(0, len(data), 2**18))
    return H("words", struct.pack("<Q", len(data)), leaf_hashes)


def signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def sketch(key: bytes, limbs: list[int]) -> list[int]:
    """Of one block: 256 rows of 128 columns."""
    assert len(limbs) <= 256 * 128
    drawn = stream(key, (struct.pack(">QQ", 0, i) for i in range(2 * 8 * 256 // 16 + 128)))
    within = [[signed(drawn[512 * j + 2 * r :][:2]) >> 2 for r in range(256)] for j in range(8)]
    of_columns = [sum(signed(drawn[4096 + 16 * c + 2 * k :][:2]) << 16 * k for k in range(8)) for c in range(128)]
    return [sum(of_columns[i % 128] * within[j][i // 128] * v for i, v in enumerate(limbs)) for j in range(8)]


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5, as it stands there."""
    k = int.from_bytes(scalar, "little") & ~7 & (2**255 - 1) | 2**254
    x1 = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % P, c * b % P, a * a % P, b * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, -1, P) % P).to_bytes(32, "little")
