"""Entries of tar archives, of which a damaged one is an error; tarfile takes it for the archive's end."""

import tarfile
from tarfile import ReadError
from typing import Any

_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_DAMAGE = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]
_MAX_HEADER = 2**20  # bytes of a long name or a list of attributes, which tarfile reads into memory


class TarEntry(tarfile.TarInfo):
    """For tarfile.open(tarinfo=…). An archive that ends between two entries, without its mark, is whole, as to tar."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Any:
        """Read the next entry.

        Raises:
            tarfile.ReadError: it is damaged or cut short.
        """
        try:
            return super().fromtarfile(tarfile)
        except _DAMAGE as error:
            if not tarfile.offset:
                raise  # no tar at all
            raise ReadError(f"{error} at byte {tarfile.offset}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> Any:  # the hook that tarfile offers to subclasses
        is_header = self.type in _HEADERS
        if self.size < 0 or (is_header and self.size > _MAX_HEADER):
            what = "header" if is_header else "content"
            raise tarfile.ReadError(
                f"the entry {self.name!r} says that its {what} has {self.size} bytes, which cannot be"
            )
        return super()._proc_member(archive)  # type: ignore[misc]
