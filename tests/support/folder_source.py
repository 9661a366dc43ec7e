"""Folders of images, and what the source makes of them."""

from lightline.config.data import FolderSource
from lightline.sources import open_source
from lightline.sources.base import Refused, SourceImage
from tests.support.source_settings import FETCH


def params(path="raw", **changes) -> FolderSource:
    values = {
        "source": "folder",
        "path": str(path),
        "sha256": None,
        "max_rejected": 9,
        "max_pixels": 1000,
        "bit_depth": "auto",
        "corrections": None,
        "split_folders": "auto",
    }
    return FolderSource.model_validate(values | {"fetch": FETCH} | changes)


NAMES = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/old/3.png"]


def source(path="raw", **changes):
    return open_source(params(path, **changes))


def found(path="raw") -> list[SourceImage]:
    return [image for image in source(path).images() if isinstance(image, SourceImage)]


def refused(path="raw") -> dict[str, str]:
    return {image.id: image.reason for image in source(path).images() if isinstance(image, Refused)}
