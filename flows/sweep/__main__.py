"""Sweeps from a terminal: `python -m flows.sweep run NAME -S …`, which `make sweep` calls; show, best, apply."""

import argparse
import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows import temporary_server
from flows.apply import apply, can_take
from flows.crashes import TEMPORARY
from flows.git import CODE, experiments, find_origin, git
from flows.loading import loading
from lightline.errors import LightlineError
from lightline.runtime.interruption import INTERRUPTED, run_command
from lightline.runtime.sweep_journal import cell, label

_EPILOG = """examples:
  python -m flows.sweep run lr -S 'optimizer.lr=tag(log, interval(0.001, 0.1))' -S 'augment=choice(light,standard)' --trials 40 --parallel 4
  python -m flows.sweep show lr
  python -m flows.sweep apply lr

Without a Prefect server a temporary one is started, and a worker with it.
"""  # noqa: E501


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked for; gives the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with temporary_server.explained():
            return {"run": _run, "show": _show, "best": _best, "apply": _apply}[options.command](options)
    except LightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep",
        description="Search parameters: trials are runs of the pipeline, chosen by Optuna.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("name", help="the sweep's; its experiments are NAME-000, NAME-001, … and NAME-best")
    common.add_argument("--repo", default=".", help="a repository's path or git URL; default: this one")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="search, or go on with a sweep that was begun", parents=[common])
    told = "what is searched, in Hydra's sweep grammar, and fixed values; can be given many times"
    run.add_argument("-S", "--set-param", dest="overrides", action="append", default=[], metavar="OVERRIDE", help=told)
    run.add_argument("--trials", type=_count, help="how many in all; default: sweep.trials in conf/")
    run.add_argument("--parallel", type=_count, help="how many at once; default: sweep.parallel in conf/")
    run.add_argument("--continue-pruned", action="store_true", help="go on with trials that were ended early")
    run.add_argument("--rev", default="HEAD", help="branch, tag or commit; default: HEAD")
    for command, told in (
        ("show", "the table of trials"),
        ("best", "the best trial, and the command that applies it"),
        ("apply", "bring the best one's results into the workspace, if it is clean"),
    ):
        commands.add_parser(command, help=told, parents=[common])
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    temporary_server.configure()
    with loading():
        # Another sweep's worker would take this one's trials, and be gone before them.
        database = temporary_server.use_own_database(_check(options).with_suffix(".prefect.db"))
        from flows.sweep.flow import sweep

        temporary_server.start()
    asked = {key: value for key, value in vars(options).items() if key != "command"}
    with _worker(database):
        state = _to_the_end(sweep(**asked, return_state=True))
    if not state.is_completed():
        print(f"\nerror: {state.message}", file=sys.stderr)
        return 1
    _show(options)
    print(f"\n{state.message}")
    origin = find_origin(options.repo)
    if not origin.is_here:
        print(f"\nNext:\n  dvc exp pull origin {_study(options).tested()}")
        return 0
    print(f"\nNext:\n  {_command('apply', options)}\nLook at it: {origin.home}/reports/sweeps/{options.name}.html")
    return 0


def _check(options: argparse.Namespace) -> Path:
    """Refuse what cannot be searched before a server is started for nothing; the flow itself checks it, too.

    Gives the journal.
    """
    from flows.security import refuse_keys
    from flows.sweep.check import check
    from flows.sweep.space import parse_space
    from flows.sweep.study import journal, only_writer

    refuse_keys(options.overrides, options.repo)
    parse_space(options.overrides)  # which takes no lock yet
    origin = find_origin(options.repo)
    with only_writer(origin.home, options.name):
        asyncio.run(check(origin, options.name, options.overrides, options.repo, options.rev))
    return journal(origin.home, options.name)


def _command(what: str, options: argparse.Namespace) -> str:
    repo = "" if options.repo == "." else f" --repo {shlex.quote(options.repo)}"
    return f"python -m flows.sweep {what} {options.name}{repo}"


def _to_the_end(flow: Any) -> Any:
    from prefect.exceptions import TerminationSignal

    try:
        return asyncio.run(flow)
    except (TerminationSignal, asyncio.CancelledError):  # what Prefect makes of SIGTERM
        raise KeyboardInterrupt from None


@contextmanager
def _worker(database: str) -> Iterator[None]:
    """Have a worker of our own, where the server is: a temporary one has no other. database: of such a one."""
    url = temporary_server.address()
    if url is None:
        yield
        return
    os.environ[TEMPORARY] = database
    environment = {**os.environ, "PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "2"}
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    quiet["preexec_fn"] = _prepare_worker
    for command in ("work-pool create local --type process --overwrite", "--no-prompt deploy --all"):
        words = (sys.executable, "-m", "prefect", *command.split())
        done = subprocess.run(words, cwd=CODE, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LightlineError(f"Prefect could not be set up: {done.stdout}{done.stderr}")
    worker = subprocess.Popen((sys.executable, "-m", "flows.worker"), cwd=CODE, env=environment, **quiet)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGINT)
        try:
            worker.wait(60)
        except subprocess.TimeoutExpired:
            worker.kill()


def _prepare_worker() -> None:
    temporary_server.end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell's background job, as this may be one, ignores


def _study(options: argparse.Namespace) -> Any:
    from flows.sweep.study import Study, journal

    return Study.open(journal(find_origin(options.repo).home, options.name), options.name)


def _show(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    study = _study(options)
    table = Table("trial", "state", study.plan.monitor, "epochs", *study.space.searched)
    for row in study.table():
        values = [row.value, row.epochs, *(row.values.get(key) for key in study.space.searched)]
        table.add_row(str(row.number), row.state, *map(cell, values))
    console = Console(highlight=False)
    console.print(table)
    for row in study.table():
        if row.reason:
            console.print(f"trial {row.number}: {row.reason}", soft_wrap=True, markup=False)
    return 0


def _best(options: argparse.Namespace) -> int:
    study = _study(options)
    best = study.best()
    if best is None:
        raise LightlineError(f"No trial of sweep {options.name!r} has come to its end yet.")
    words = " ".join(f"-S {shlex.quote(override)}" for override in study.space.overrides(best.params))
    print(f"trial {label(best)}: {study.plan.monitor} {best.value:.4f}\n  python -m flows.pipeline {words}")
    print(f"  {_command('apply', options)}")
    return 0


def _apply(options: argparse.Namespace) -> int:
    """Bring the best one's results here, where nothing would be lost."""
    study, origin = _study(options), find_origin(options.repo)
    if (name := study.tested()) is None:
        raise LightlineError("The best trial has not been tested: the sweep has not come to its end. `run` goes on.")
    if not origin.is_here:
        raise LightlineError(f"{options.repo} is elsewhere: `dvc exp pull origin {name}` in a clone of it.")
    here = git("rev-parse", "HEAD", folder=origin.home)
    if here != study.plan.commit:
        raise LightlineError(
            f"Sweep {options.name!r} is of commit {study.plan.commit[:12]}, and here is {here[:12]}. "
            f"`git checkout {study.plan.commit[:12]}` first, or run its parameters: `{_command('best', options)}`."
        )
    if name not in experiments(origin, here, origin.home):
        raise LightlineError(f"There is no experiment {name!r}: the best trial has not been tested. `run` goes on.")
    if not can_take(origin.home, name):
        raise LightlineError("The workspace has changes that would be lost. Commit them, or take them back, first.")
    if not apply(origin.home, name):
        raise LightlineError(f"DVC could not bring all of {name!r}: `dvc checkout` says what is missing.")
    print(f"{name} is in this workspace: models/model.onnx, reports/report.html")
    return 0


if __name__ == "__main__":
    run_command(main)
