"""Tell whether images that are answered have become others than the test images were.

python -m lightline monitor LOG_OR_FOLDER [--model FILE] [--count N] [-S OVERRIDE …]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightline.errors import LightlineError

ALARM, TOO_FEW = 3, 4  # exit status


def main(arguments: Sequence[str]) -> int:
    """Compare, write reports/monitor/ and say what was found; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lightline monitor",
        description="Tell whether images that are answered have become others than the test images were.",
        epilog=f"Exit status: {ALARM} on an alarm, {TOO_FEW} where there are too few images to say, 0 where there is "
        "none; 1 is an error. What counts stands in conf/monitor/.",
    )
    parser.add_argument("images", type=Path, help="what `lightline-predict serve --log` wrote, or a folder of images")
    parser.add_argument("--model", type=Path, default=Path("models/model.onnx"), help="default: %(default)s")
    parser.add_argument(
        "--reference",
        type=Path,
        default=Path("reports/test/reference.parquet"),
        help="what `test` wrote beside it; default: %(default)s",
    )
    parser.add_argument("--count", type=int, help="images of a window, in place of monitor.window_hours")
    parser.add_argument("-S", dest="overrides", action="append", default=[], help="as of `dvc exp run`, of monitor")
    options = parser.parse_args(arguments)
    if options.count is not None and options.count < 1:
        parser.error("--count must be at least 1")
    from commands.monitoring.monitor import monitor

    try:
        found = monitor(**vars(options))
    except LightlineError as error:
        sys.exit(f"error: {error}")
    return ALARM if found.alarm else 0 if found.compared else TOO_FEW
