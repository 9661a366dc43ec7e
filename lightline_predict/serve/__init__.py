"""Answer over HTTP: `lightline-predict serve MODEL`, or `--from GIT-URL --stage champion`; see docs/serving.md."""

import sys
from collections.abc import Sequence

from lightline_predict.errors import LightlineError
from lightline_predict.serve import options


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; gives 0 where all that came was answered."""
    try:
        given = options.parse(arguments)  # before what an extra brings: --help needs nothing
        try:
            from lightline_predict.serve import server
        except ModuleNotFoundError as error:
            told = f"serve needs {error.name}: `pip install 'lightline-predict[serve]'`."
            raise options.OptionError(told) from error
        return server.serve(given)
    except LightlineError as error:
        sys.exit(f"error: {error}")
