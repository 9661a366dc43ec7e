"""The flow from a terminal: `python -m flows.pipeline`, which `make run` calls."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from flows import temporary_server
from flows.errors import RequestError, UnavailableError
from flows.loading import loading
from flows.security import refuse_keys
from flows.workspace import Request, WorkspacePrefetch
from lightline.runtime.interruption import INTERRUPTED, run_command

if TYPE_CHECKING:
    from flows.results import Results

_EPILOG = """examples:
  python -m flows.pipeline -S model=resnet18 -S trainer.max_epochs=3
  python -m flows.pipeline --rev v1 --experiment again train

Without a Prefect server a temporary one is started. Where PREFECT_API_URL or a profile names one, that is used.
"""

_TERMINATED = 143  # exit status, as a shell has it after SIGTERM


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which takes the same way out as Ctrl-C."""


def main(arguments: list[str] | None = None) -> int:
    """Run the flow; gives the exit status."""
    options = _parser().parse_args(arguments)
    temporary_server.configure()
    try:
        refuse_keys(options.set_param, options.repo)  # before Prefect writes them into its database
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    request = Request(options.set_param, options.repo, options.rev, options.experiment, options.targets)
    signal.signal(signal.SIGTERM, _terminate)
    ahead = WorkspacePrefetch(request)
    try:
        with temporary_server.explained():
            _load()  # not inside of asyncio, which keeps an interruption for later
            results, failure = _run_to_the_end(request, ahead, options.apply)
    except UnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print("interrupted; what was finished is in the cache", file=sys.stderr)
        return _TERMINATED if isinstance(interruption, _Terminated) else INTERRUPTED
    finally:
        ahead.discard()
    if results is None:
        print(f"\nerror: {failure}", file=sys.stderr)
        return 1
    _show(results, options.apply)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.pipeline",
        description="Run the pipeline in a clean clone and record it as a DVC experiment.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", help="stages to bring up to date; default: all")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="OVERRIDE",
        help="change a parameter, in Hydra's grammar; can be given many times",
    )
    parser.add_argument("--repo", default=".", help="a repository's path or git URL; default: this one")
    parser.add_argument("--rev", default="HEAD", help="branch, tag or commit; default: HEAD")
    parser.add_argument("-n", "--experiment", help="the experiment's name; default: one that DVC invents")
    parser.add_argument("--apply", action="store_true", help="bring the results into the workspace, if it is clean")
    return parser


def _terminate(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one does not disturb the way out
    raise _Terminated


def _run_to_the_end(request: Request, ahead: WorkspacePrefetch, apply: bool) -> tuple["Results | None", str]:
    from prefect.exceptions import TerminationSignal

    try:
        outcome = asyncio.run(_run(request, ahead, apply))
    except (TerminationSignal, asyncio.CancelledError):  # SIGTERM before and after the flow takes it from Prefect
        _terminate()
    signal.signal(signal.SIGTERM, _terminate)  # the event loop has left the default, a death without a word
    return outcome


def _load() -> None:
    with loading():
        import flows.pipeline  # noqa: F401

        temporary_server.start()
        _leave_failures_to_the_end()


async def _run(request: Request, ahead: WorkspacePrefetch, apply: bool) -> tuple["Results | None", str]:
    from flows.pipeline import Terminal, pipeline, terminal

    without_server, command = asyncio.get_running_loop().create_future(), cast(Any, asyncio.current_task())
    terminal.set(Terminal(ahead, without_server, command.cancel))
    run = asyncio.ensure_future(cast(Any, pipeline)(**vars(request), return_state=True))
    await asyncio.wait({run, without_server}, return_when=asyncio.FIRST_COMPLETED)
    if without_server.done():
        _show(without_server.result(), apply)
        _leave("The Prefect server has gone, and will not show how this run ended.")
    state = await run
    return (await state.aresult(), "") if state.is_completed() else (None, state.message)


def _leave(warning: str) -> NoReturn:
    """Exit with a warning and without Prefect's own end, which would go on asking for its server for minutes."""
    print(f"warning: {warning}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _leave_failures_to_the_end() -> None:
    """Hide what Prefect says of a failure, for the stage and for the flow again: the terminal's last lines say why.

    Its UI shows both. What of its events is lost when a run ends at once, nobody misses.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not str(record.msg).startswith("Finished in state Failed("))
        handler.addFilter(lambda record: record.name not in ("EventsWorker", "prefect.events.utilities"))


def _apply(results: "Results") -> bool:
    """Bring the results into the workspace they belong to, where nothing there would be lost."""
    from flows.apply import apply, can_take
    from flows.git import git

    origin = Path(results.origin)
    if not origin.is_dir() or git("rev-parse", "HEAD", folder=origin) != results.commit:
        return False
    return can_take(origin, results.experiment) and apply(origin, results.experiment)


def _show(results: "Results", apply: bool) -> None:
    _print(results, apply and _apply(results), asked=apply)


def _print(results: "Results", applied: bool, asked: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from flows.results import MODEL, PAGE, REPORTS, commands

    console = Console(highlight=False)
    console.print(f"\n{results.headline()}", soft_wrap=True)
    table = Table("stage", "metric", "value")
    # Counts of images matter where nothing was trained; else they stand in reports/.
    shown = [row for row in results.metrics if row[0] not in ("download", "split")] or results.metrics
    for stage, metric, value in shown:
        table.add_row(stage, metric, f"{value:.4g}" if isinstance(value, float) else str(value))
    if shown:
        console.print(table)
    here = "" if applied else f" (in experiment {results.experiment})"
    if results.has_model:
        console.print(f"model       {MODEL}{here or f' (of experiment {results.experiment})'}")
    console.print(f"reports     {REPORTS}/{here}")
    console.print(f"experiment  {results.experiment}: `dvc exp show` lists it beside the others")
    if asked and not applied:
        console.print("The workspace is as it was: it has changes that would be lost, or is at another commit.")
    console.print("\nNext:")
    for command in _next(applied, commands(results)):
        console.print(f"  {command}")
    if page := Path(results.origin, PAGE) if applied and Path(results.origin, PAGE).exists() else results.page:
        console.print(f"\nLook at it: {page}", soft_wrap=True)


def _next(applied: bool, apply: list[str]) -> list[str]:
    active = sys.prefix == sys.base_prefix or "VIRTUAL_ENV" in os.environ
    activate = [] if active else [f". {os.path.relpath(sys.prefix)}/bin/activate"]
    look = ["dvc exp show", "dvc plots show"] if applied else apply
    return [*activate, *look, "python -m flows.pipeline -S seed=1"]  # which every project has


if __name__ == "__main__":
    run_command(main)
