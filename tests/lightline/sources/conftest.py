"""What the tests of sources share with those of downloads."""

from tests.support.served_files import pack, png, repository, server, write  # noqa: F401 (fixtures)
