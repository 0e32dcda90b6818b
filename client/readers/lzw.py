"""TIFF's LZW (TIFF 6.0, section 13), for colour of 16 bits, which Pillow would cut to 8."""

CLEAR, END, FIRST_FREE = 256, 257, 258


def unpack(data: bytes, size: int) -> bytes:
    """The first `size` bytes that `data` stands for.

    Raises:
        ValueError: a code that is not in the table, or too few of them.
    """
    table: list[bytes] = []
    out: list[bytes] = []
    length = buffer = bits = 0
    width, previous = 9, b""
    for byte in data:
        buffer, bits = (buffer << 8 | byte) & 0xFFFFF, bits + 8
        if bits < width:
            continue
        bits -= width
        code = buffer >> bits & ((1 << width) - 1)
        if code == CLEAR:
            table, width, previous = [bytes([i]) for i in range(256)] + [b"", b""], 9, b""
            continue
        if code == END or length >= size:
            break
        if code < len(table):
            entry = table[code]
        elif previous and code == len(table):
            entry = previous + previous[:1]
        else:
            raise ValueError("LZW code that is not in its table")
        if previous:
            table.append(previous + entry[:1])
        out.append(entry)
        length += len(entry)
        previous = entry
        # The width grows one entry early: a slip of the first implementation that became the standard.
        width = min(12, max(9, (len(table) + 1).bit_length()))
    if length < size:
        raise ValueError(f"LZW data ends after {length} of {size} bytes")
    return b"".join(out)[:size]
