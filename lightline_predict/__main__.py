"""`lightline-predict COMMAND`: what answers without the project that made the model file."""

import importlib
import os
import sys
from collections.abc import Sequence

_COMMANDS = {
    "classify": "print the class of each image",
    "batch": "classify a folder, an archive, a table or a bucket into a Parquet file",
    "serve": "answer over HTTP",
    "verify": "check that a model file is what somebody has signed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, whose name comes first; gives its exit status."""
    name, *others = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: lightline-predict COMMAND …   (COMMAND --help says more)")
        print(*(f"  {command:<9}{purpose}" for command, purpose in _COMMANDS.items()), sep="\n")
        return 0
    if name not in _COMMANDS:
        sys.exit(f"error: {name!r} is no command; there are {', '.join(_COMMANDS)}.")
    try:
        status = importlib.import_module(f"lightline_predict.{name}").main(others)
        print(end="", flush=True)  # sys.stdout is None where who started this has closed it
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who read it (`| head`) has enough; Python would find that out once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


if __name__ == "__main__":
    sys.exit(main())
