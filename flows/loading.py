"""Importing large libraries in less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Pause the garbage collector for imports, which allocate much and free nothing: a tenth to a fifth less time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
