"""PNG with 16 bits a channel and more than one channel, which Pillow would cut to 8 (W3C PNG, third edition)."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

CHANNELS = {2: 3, 4: 2, 6: 4}
"""Channels by colour type: RGB, grey with transparency, RGB with transparency."""


def decode(content: bytes) -> NDArray[np.uint16] | None:
    """uint16[height, width, channels]; None if the file is of another depth or colour type.

    Raises:
        ValueError: interlaced, damaged or truncated.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    if depth != 16 or colour not in CHANNELS:
        return None
    if interlaced:
        raise ValueError("interlaced; save it without interlacing")
    channels = CHANNELS[colour]
    stride = 2 * channels * width
    unpack = zlib.decompressobj()
    raw = unpack.decompress(_image_data(content), (stride + 1) * height)
    if len(raw) < (stride + 1) * height:
        raise ValueError("ends too early")
    lines = np.frombuffer(raw, np.uint8).reshape(height, stride + 1)
    out = np.zeros((height + 1, stride), np.uint8)  # a row of zeros above the first
    for number, line in enumerate(lines):
        out[number + 1] = _unfilter(line[0], line[1:], out[number], 2 * channels)
    return out[1:].view(">u2").astype(np.uint16).reshape(height, width, channels)


def _image_data(content: bytes) -> bytes:
    at, parts = 8, []
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            if zlib.crc32(kind + body) != struct.unpack_from(">I", content, at + 8 + length)[0]:
                raise ValueError("damaged: a checksum does not fit")
            parts.append(body)
        at += 12 + length
    return b"".join(parts)


def _unfilter(kind: int, line: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Section 9.2: a line from its differences to the left, to the line above, or to both."""
    if kind == 0:
        return line
    if kind == 1:
        sums: NDArray[np.uint8] = np.cumsum(line.reshape(-1, step), axis=0, dtype=np.uint8).ravel()
        return sums
    if kind == 2:
        return line + above
    if kind not in (3, 4):
        raise ValueError("damaged: an unknown filter")
    line_bytes, up = bytearray(step) + bytearray(line.tobytes()), bytes(step) + above.tobytes()
    for i in range(step, len(line_bytes)):
        to_the_left, over = line_bytes[i - step], up[i]
        if kind == 3:
            guess = (to_the_left + over) >> 1
        else:
            corner = up[i - step]
            to_left, to_over, to_corner = (
                abs(over - corner),
                abs(to_the_left - corner),
                abs(to_the_left + over - 2 * corner),
            )
            guess = (
                to_the_left if to_left <= to_over and to_left <= to_corner else over if to_over <= to_corner else corner
            )
        line_bytes[i] = (line_bytes[i] + guess) & 255
    return np.frombuffer(line_bytes, np.uint8)[step:]
