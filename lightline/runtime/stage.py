"""What every stage does around its work: threads first, parameters checked, errors told to a person, a quick end."""

import atexit
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from lightline.runtime.loading import load_quickly  # isort: skip  (and called before anything else loads)

load_quickly()

from lightline.config.extensions import EXTENSIONS
from lightline.config.load import ADVICE, PARAMS_FILE, PARAMS_VARIABLE, is_conf_right, load_params
from lightline.config.params import Params
from lightline.errors import LightlineError, ParameterError, explain_full_disk
from lightline.redaction import redacted
from lightline.runtime.integrity import check_inputs
from lightline.runtime.interruption import INTERRUPTED, end_at_once, end_in_order
from lightline.runtime.ranks import forget_leaked_rank, is_first_process
from lightline.runtime.supervision import end_with_parent, occupy_folder

_FAILED, _MAY_PASS = 1, 75  # exit statuses; 75 is sysexits' EX_TEMPFAIL, which the flow tries again

_OVERRIDDEN = (
    "conf/ is as it should be: `-S` of this command brought what is wrong. Give it another value; `make params` takes "
    "back what has been left in params.yaml."
)

_MEMORY = (
    "The GPU has too little memory for this. A smaller trainer.batch_size (in test evaluate.batch_size), "
    "model.input_size or hardware.memory_fraction may help, and so does ending what else computes there."
)


def run_stage(work: Callable[[Params], None], kept: str = "the same command goes on from what is finished") -> None:
    """Check all of params.yaml and what is read, do the work, and exit with a message that helps where that fails.

    Meanwhile no other stage works in this folder, and the work ends when the process that asked for it does.

    kept: what is said of an interrupted one.
    """
    gc.enable()
    sys.excepthook = _print_bug
    try:
        end_in_order()
        signal.signal(signal.SIGTERM, _terminate)
        with explain_full_disk():
            _do(work)
    except LightlineError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        _leave(_MAY_PASS if error.may_pass else _FAILED)
    except KeyboardInterrupt:
        print(f"interrupted; {kept}", file=sys.stderr)
        _leave(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which not every stage loads
            print(f"error: {str(error).splitlines()[0]}\n{_MEMORY}", file=sys.stderr)
            _leave(_FAILED)
        _introduce(error)
        sys.excepthook = _print_bug  # once more: W&B's own, in its place by now, prints keys
        raise
    _leave(0)


def _do(work: Callable[[Params], None]) -> None:
    params = _load_params()
    forget_leaked_rank(params.hardware.num_nodes)
    end_with_parent()
    if is_first_process():
        occupy_folder()
        check_inputs()
    work(params)


def _load_params() -> Params:
    """Read all parameters; of wrong ones, say whether conf/ has them, or an override of `dvc exp run` brought them."""
    try:
        return load_params(Path(os.environ.get(PARAMS_VARIABLE, PARAMS_FILE)))
    except ParameterError as error:
        if "DVC_EXP_BASELINE_REV" not in os.environ or not is_conf_right():
            raise
        raise ParameterError(str(error).replace(ADVICE, _OVERRIDDEN)) from None


def _terminate(signum, frame):
    """Take the same way out at SIGTERM as at Ctrl-C; a second one does not disturb it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _introduce(error: Exception) -> None:
    """Name the line of extensions/ that an error comes from, before its traceback: W&B prints one, too."""
    folder = str(Path(EXTENSIONS).resolve())
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    for frame in own[-1:]:
        place = f"{os.path.relpath(frame.filename)}:{frame.lineno}, in {frame.name}"
        print(redacted(f"error: {place}: {type(error).__name__}: {error}. This is the way there:"), file=sys.stderr)


def _print_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback as Python does, without keys: a library's message may quote a whole URL."""
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _leave(status: int) -> None:
    """Exit without taking apart all that was imported, which keeps an interpreter with torch busy for two seconds."""
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_at_once()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # who read it may be gone, or the disk of a log full
            stream.flush()
    os._exit(status)
