"""Archives of images in data/, and what the source makes of them."""

import io
import tarfile
import zipfile
from pathlib import Path

from lightline.data.dataset import Dataset
from lightline.sources import open_source
from lightline.sources.base import Refused, SourceImage
from stages.download.ingest import download
from tests.support.folder_source import params

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]


def contents(path) -> list[SourceImage | Refused]:
    return list(open_source(params(path)).images())


def refused(path) -> dict[str, str]:
    return {image.id: image.reason for image in contents(path) if isinstance(image, Refused)}


def digest(path) -> str:
    download(open_source(params(path)), params(path))
    return Dataset().digest


def tar_with(png, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open("images.tar", "w") as file:
        for number, name in enumerate(["cat/1.png", "dog/1.png"]):
            info = tarfile.TarInfo(name)
            info.size = len(png(number))
            file.addfile(info, io.BytesIO(png(number)))
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return Path("images.tar")


def zip_with(png, info: zipfile.ZipInfo, content: bytes) -> Path:
    with zipfile.ZipFile("images.zip", "w") as file:
        file.writestr("cat/1.png", png(0))
        file.writestr("dog/1.png", png(1))
        file.writestr(info, content)
    return Path("images.zip")
