"""What every stage does around its work: threads first, parameters checked, errors told to a person."""

import os
import signal
import sys
from collections.abc import Callable

# OpenMP threads that spin while they wait collapse on a busy machine. Read when torch loads, so set before that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from lightline.errors import LightlineError
from lightline.params import Params
from lightline.params_file import load_params


def run_stage(work: Callable[[Params], None]) -> None:
    """Check all of params.yaml, do the work, and exit with a message where a person can mend what went wrong."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        work(load_params())
    except LightlineError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _terminate(signum, frame):
    """SIGTERM takes the same way out as Ctrl-C."""
    raise KeyboardInterrupt
