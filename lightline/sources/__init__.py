"""Where images come from. To add a source: a module with a class like `digits.Digits`, its parameters in
`lightline/params.py`, a line in `open_source`, a file in conf/data/ and a test beside tests/sources/test_digits.py.
"""

from lightline.params import Data
from lightline.sources.base import ImageSource


def open_source(data: Data) -> ImageSource:
    """The source that the parameters choose; its modules are imported only here, each with its own needs."""
    if data.source == "digits":
        from lightline.sources.digits import Digits

        return Digits()
    raise NotImplementedError(data.source)
