"""Answer over HTTP: `lightline-predict serve MODEL`, or `--from GIT-URL --stage champion`; see docs/serving.md."""

import sys
from collections.abc import Sequence

from lightline_predict.errors import LightlineError


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; gives 0 where all that came was answered."""
    try:
        from lightline_predict.serve import options, server
    except ModuleNotFoundError as error:
        sys.exit(f"error: serve needs {error.name}: `pip install 'lightline-predict[serve]'`.")
    try:
        return server.serve(options.parse(arguments))
    except LightlineError as error:
        sys.exit(f"error: {error}")
