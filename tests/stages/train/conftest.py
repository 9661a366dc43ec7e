"""What the tests of training share with those of downloads."""

from tests.support.served_files import server  # noqa: F401 (fixture)
