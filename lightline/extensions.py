"""Classes of one's own in extensions/, which parameters choose by name; docs/extensions.md is the guide."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from lightline.config.extensions import registered
from lightline.errors import ParameterError

_Maker = TypeVar("_Maker", bound=Callable[..., Any])
# An attribute of each kind that what is of no such kind has not.
_MARKS = {"model": "state_dict", "callback": "state_key", "source": "identity"}


def _named(name: str) -> Callable[[_Maker], _Maker]:
    """Register a class, or a function that gives an object; its name is read from the file's text alone."""
    return lambda maker: maker


model = metric = callback = source = augmentation = _named


def build_extension(kind: str, name: str, settings: Mapping[str, Any], **given: Any) -> Any:
    """Make what a name stands for, importing its file; given: arguments that all of its kind take, beside the settings.

    Raises:
        ParameterError: it takes other settings, or is not what its kind must be.
    """
    place = registered(kind)[name]
    word, _, path = place.partition(" of ")
    maker = getattr(import_module(path.partition(".py:")[0].replace("/", ".")), word)
    is_itself = (
        kind == "metric" and inspect.isfunction(maker) and "num_classes" not in inspect.signature(maker).parameters
    )
    try:
        if is_itself:  # the function of logits and labels, not one that gives it
            inspect.signature(maker).bind(None, None, **settings)
            return partial(maker, **settings)
        made = maker(**given, **settings)
    except TypeError as error:
        if not is_itself and error.__traceback__ and error.__traceback__.tb_next:  # raised inside, not by the call
            raise
        takes = f"{word}{inspect.signature(maker)}"
        raise ParameterError(f"{kind} {name!r}, {place}, cannot take its settings: {error}. It is {takes}.") from None
    if not hasattr(made, mark := _MARKS.get(kind, "__call__")):
        raise ParameterError(f"{kind} {name!r}, {place}, has no {mark}; docs/extensions.md says what it must be.")
    return made
