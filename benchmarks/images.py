"""What the questions about images run as programs of their own, for their time and memory.

python -m benchmarks.images decode ARCHIVE NUM_PROCESSES
python -m benchmarks.images download NUM_IMAGES
"""

import io
import struct
import sys
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from PIL import Image

_IMAGES_PER_TASK = 256
_SIDE = 8  # pixels


def decode_all(archive: Path, num_processes: int) -> None:
    """Read every member of an archive and decode it to RGB: the least that any use of the images takes."""
    groups = _groups(archive)
    if num_processes == 1:
        for group in groups:
            _decode(group)
        return
    with Pool(num_processes) as pool:
        for _ in pool.imap_unordered(_decode, groups):
            pass


def _groups(archive: Path) -> Iterator[list[bytes]]:
    with tarfile.open(archive) as members:
        read = (members.extractfile(member) for member in members if member.isfile())
        encoded = (file.read() for file in read if file is not None)
        while group := list(islice(encoded, _IMAGES_PER_TASK)):
            yield group


def _decode(group: list[bytes]) -> None:
    for encoded in group:
        with Image.open(io.BytesIO(encoded)) as image:
            image.convert("RGB").load()


def fewer(archive: Path, every: int, target: Path) -> None:
    """Write an archive of a part of another's files: of every fourth, for example."""
    with tarfile.open(archive) as members, tarfile.open(target, "w:gz", compresslevel=1) as part:
        for number, member in enumerate(member for member in members if member.isfile()):
            if number % every == 0:
                part.addfile(member, members.extractfile(member))


class MadeUp:
    """A source of small images, no two alike, in ten classes."""

    classes = None

    def __init__(self, num_images: int):
        self.num_images = num_images

    def identity(self) -> dict[str, Any]:
        return {"source": "made up", "images": self.num_images}

    def images(self) -> Iterator[Any]:
        from lightline.sources.base import SourceImage

        for number in range(self.num_images):
            name = f"class-{number % 10}"
            yield SourceImage(f"{name}/{number:07d}.png", name, partial(_png, number), 140)


def _png(number: int) -> bytes:
    """Encode eight rows of eight grey pixels that spell a number, not compressed: nothing to wait for but a reader."""
    row = b"\0" + number.to_bytes(_SIDE, "big")
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _SIDE, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def download(num_images: int) -> None:
    """Do the download stage's work on made-up images, in the working directory."""
    import yaml

    from lightline.config.load import check_params
    from stages.download.ingest import download

    params = check_params(yaml.safe_load(Path("params.yaml").read_bytes()), "params.yaml")
    download(MadeUp(num_images), params.data)


if __name__ == "__main__":
    if sys.argv[1] == "decode":
        decode_all(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        download(int(sys.argv[2]))
