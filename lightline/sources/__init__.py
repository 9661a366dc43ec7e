"""Where images come from. To add a source: a module with a class like `digits.Digits`, its parameters in
lightline/config/data.py, a line in `open_source`, a file in conf/data/ and a test beside
tests/lightline/sources/test_digits.py.
"""

from pathlib import Path
from typing import Any

from lightline.config.data import BenchmarkSource, Data, DigitsSource, ExtensionSource, FolderSource
from lightline.extensions import build_extension
from lightline.files import file_digest
from lightline.runtime.origin import origin
from lightline.runtime.places import find_file, find_source
from lightline.sources.base import GoneError, ImageSource


def open_source(data: Data) -> ImageSource:
    """Open the source that the parameters choose; its modules are imported only here, each with its own needs.

    Raises:
        DataError: there is nothing at data.path.
    """
    if isinstance(data, DigitsSource):
        from lightline.sources.digits import Digits

        return Digits()
    if isinstance(data, BenchmarkSource):
        from lightline.sources.benchmarks import Benchmark

        return Benchmark(data.source, data.mirror, data.checksums, data.fetch)
    if isinstance(data, FolderSource):
        return _open_folder(data)
    if isinstance(data, ExtensionSource):
        return build_extension("source", data.source, data.settings)
    from lightline.sources.table import Table

    return Table(data)


def with_corrections(identity: dict[str, Any], data: Data) -> dict[str, Any]:
    """Add what identifies the file of corrections, if there is one, to a source's identity."""
    if data.corrections is None:
        return identity
    return identity | {"corrections": file_digest(find_file(data.corrections, "data.corrections"))}


def _open_folder(data: FolderSource) -> ImageSource:
    if data.sha256 and "://" in data.path:
        from lightline.sources.archived_folder import RemoteFolder

        return RemoteFolder(data.path, data.sha256, data.max_pixels, data.split_folders, data.fetch)
    path = find_source(data.path)
    if path.is_file():
        from lightline.sources.archived_folder import ArchivedFolder

        return ArchivedFolder(path, data.sha256, data.max_pixels, data.split_folders)
    if not path.is_dir():
        place = "" if Path(data.path).is_absolute() else f" in {origin()}"
        raise GoneError(f"data.path = {data.path!r} is neither a folder nor a file{place}.")
    from lightline.sources.folder import Folder

    return Folder(path, data.max_pixels, data.split_folders)
