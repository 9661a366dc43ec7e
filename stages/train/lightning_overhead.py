"""What Lightning does around each step in vain: hooks in which nothing is done, and a profiler that records nothing."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch.profilers import PassThroughProfiler

_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def skip_empty_hooks(instance: Any, base: type) -> None:
    """Take from a callback or a module the hooks of a step that it has only inherited: Lightning calls those in vain.

    It skips what cannot be called.
    """
    for hook in _STEP_HOOKS:
        if getattr(type(instance), hook) is getattr(base, hook):
            setattr(instance, hook, None)


class NoProfiler(PassThroughProfiler):
    """Lightning's own records nothing either, but makes a generator thirty times a step: a twentieth of a short one."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing
