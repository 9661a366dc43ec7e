"""Files with 16 bits a colour, which Pillow reads and does not write."""

import struct
import zlib

import numpy as np

_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return png[:33] + png_chunk(kind, content) + png[33:]


def png_of_16_bits(values: np.ndarray) -> bytes:
    """values: [height, width, channels]: grey, grey and alpha, RGB or RGBA."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def tiff(values: np.ndarray, order: str = "<", sample_format: int = 1, *, deflate: bool = False) -> bytes:
    """values: [height, width, channels] of a 16-bit type. order: of the bytes. sample_format: 2 is signed."""
    height, width, channels = values.shape
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if deflate else pixels
    pixels += bytes(len(pixels) % 2)  # what follows begins at an even place
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = {
        256: width,
        257: height,
        259: 8 if deflate else 1,
        262: 2 if channels > 1 else 1,
        277: channels,
        278: height,
        279: len(pixels),
    }
    tags |= {258: 16, 273: 8, 339: sample_format}
    lists = {258: 8 + len(pixels)} if channels > 1 else {}
    start = 8 + len(pixels) + len(bits)
    entries = b""
    for tag, value in sorted((tags | lists).items()):
        kind, count = (3, channels) if tag in lists else (4, 1)
        entries += struct.pack(f"{order}HHII", tag, kind, count, value)
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    begin = b"II*\0" if order == "<" else b"MM\0*"
    return begin + struct.pack(f"{order}I", start) + pixels + bits + directory
