"""Set up how a stage's libraries load; to be imported before any of them is."""

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# What torchmetrics loads for metrics of sounds, detections and image quality, and Lightning with it: a third of the
# time in which `train` starts, half of `test`'s. Lightning-AI/torchmetrics#3457
_NEEDLESS = ("scipy", "torchvision")


def load_quickly() -> None:
    """Let torch's threads wait without spinning, collect no garbage, and leave out what torchmetrics loads in vain.

    The caller calls `gc.enable` when all is loaded.
    """
    # OpenMP threads that spin while they wait collapse on a busy machine. Read when torch loads, so set before that.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imports make a million objects that stay: looking through them for garbage takes half a second.
    gc.disable()
    if "torchmetrics" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds torchmetrics, once, to be loaded by `_SlimLoader`."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != "torchmetrics":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _SlimLoader(spec.loader)
        return spec


class _SlimLoader(Loader):
    """Loads a module as if what is needless were not installed."""

    def __init__(self, loader: Loader):
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        with _needless_hidden():
            self._loader.exec_module(module)


@contextmanager
def _needless_hidden() -> Iterator[None]:
    """Have the two questions by which torchmetrics asks what is installed answered with no."""
    from lightning_utilities.core import imports

    cache, is_met, is_there = imports.RequirementCache, imports.RequirementCache.__bool__, imports.package_available
    cache.__bool__ = lambda self: self.requirement not in _NEEDLESS and is_met(self)
    imports.package_available = lambda name: name not in _NEEDLESS and is_there(name)
    try:
        yield
    finally:
        cache.__bool__, imports.package_available = is_met, is_there
