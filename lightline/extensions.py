"""Classes of one's own in extensions/, which parameters choose by name; docs/extensions.md is the guide.

Which file has a name is known from its text (`lightline.config.extensions`), and that file alone is imported.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from lightline.config.extensions import registered
from lightline.errors import ParameterError

_Maker = TypeVar("_Maker", bound=Callable[..., Any])
_makers: dict[tuple[str, str], Callable[..., Any]] = {}
# Of each kind an attribute that whatever is none has not.
_MARKS = {
    "model": "state_dict", "metric": "__call__", "callback": "state_key", "source": "identity",
    "augmentation": "__call__",
}  # fmt: skip


def _decorator(kind: str) -> Callable[[str], Callable[[_Maker], _Maker]]:
    """Make the decorator that registers a class, or a function that gives an object, by a name."""

    def named(name: str) -> Callable[[_Maker], _Maker]:
        def register(maker: _Maker) -> _Maker:
            _makers[kind, name] = maker
            return maker

        return register

    return named


model, metric, callback, source, augmentation = map(_decorator, _MARKS)


def build(kind: str, name: str, settings: Mapping[str, Any], **given: Any) -> Any:
    """Make what a name stands for; given: arguments that all of its kind take, beside the settings.

    Raises:
        ParameterError: it takes other settings, or is not what its kind must be.
    """
    place = registered(kind)[name]
    import_module(place.partition(".py:")[0].replace("/", "."))
    maker = _makers[kind, name]
    try:
        made = maker(**given, **settings)
    except TypeError as error:
        if error.__traceback__ and error.__traceback__.tb_next:  # raised inside, not by the call
            raise
        takes = f"{maker.__name__}{inspect.signature(maker)}"
        raise ParameterError(
            f"{place}: {kind} {name!r} does not take these settings: {error}. It is {takes}."
        ) from None
    if not hasattr(made, _MARKS[kind]):
        raise ParameterError(
            f"{place}: {kind} {name!r} has no {_MARKS[kind]}; docs/extensions.md says what one must be."
        )
    return made
