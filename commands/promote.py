"""Compare a model with the champion, and make it the champion if it is shown to be better.

python -m lightline promote [EXPERIMENT]
python -m lightline promote status
python -m lightline promote rollback [VERSION]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightline.config.load import PARAMS_FILE, load_params
from lightline.errors import LightlineError

REPORTS = Path("reports/promotion")
STATUS = {"PROMOTE": 0, "HOLD": 3, "REJECT": 4}  # that the command exits with; 1 is an error


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for; gives the exit status."""
    name = arguments[0] if arguments else ""
    command = {"status": _status, "rollback": _rollback}.get(name, _promote)
    try:
        return command(arguments[1:] if command is not _promote else arguments)
    except LightlineError as error:
        sys.exit(f"error: {error}")


def _promote(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lightline promote",
        description="Compare a model with the champion, and make it the champion if it is shown to be better.",
        epilog="`promote status` tells who the champion is, `promote rollback [VERSION]` takes an earlier one again. "
        "Exit status: 0 PROMOTE, 3 HOLD, 4 REJECT, 1 error.",
    )
    parser.add_argument("experiment", nargs="?", help="a name or a commit; default: what lies here, as it is recorded")
    parser.add_argument("--first", action="store_true", help="make it the champion where there is none to compare with")
    parser.add_argument(
        "--params", type=Path, default=PARAMS_FILE, help="the file whose section promote holds (default: %(default)s)"
    )
    _add_push(parser)
    options = parser.parse_args(arguments)
    from commands.promoting.promotion import promote

    verdict, told = promote(options.experiment, load_params(options.params), options.first, options.push, REPORTS)
    print(f"{verdict.told}\n{told}See {REPORTS / 'verdict.md'}")
    return STATUS[verdict.verdict]


def _rollback(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lightline promote rollback", description="Make an earlier champion the champion again."
    )
    parser.add_argument("version", nargs="?", help="as in v0.0.1; default: the champion before the present one")
    _add_push(parser)
    options = parser.parse_args(arguments)
    from commands.promoting.promotion import rollback

    print(rollback(options.version, options.push))
    return 0


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-push", dest="push", action="store_false", help="leave git's remote, and DVC's, out: it is for this clone"
    )


def _status(arguments: Sequence[str]) -> int:
    argparse.ArgumentParser(
        prog="python -m lightline promote status", description="Tell who the champion is, and since when."
    ).parse_args(arguments)
    from commands.promoting.tags import Registry

    registry = Registry()
    history = registry.assignments()
    if not history:
        print("There is no champion. `python -m lightline promote EXPERIMENT --first` makes one.")
        return 0
    champion = history[-1]
    print(f"champion    {champion.name}, since {champion.when} by {champion.who}: {champion.message}")
    _print_comparisons(registry.comparisons(champion.commit))
    for former in reversed(history[:-1]):
        print(f"before      {former.name}, {former.when} by {former.who}")
    return 0


def _print_comparisons(verdicts: list[dict[str, Any]]) -> None:
    for found in verdicts:
        numbers, differ = found["comparison"], found["accuracy"]
        print(
            f"challenger  {found['challenger']['name']}: {found['verdict']}, alone right on {differ['better']} images, "
            f"alone wrong on {differ['worse']} (comparison {numbers['number']} on these images, "
            f"alpha {numbers['alpha']:.3g})"
        )
