"""What the tests of downloads share with those of sources."""

from tests.support.served_files import pack, png, repository, server, write  # noqa: F401 (fixtures)
