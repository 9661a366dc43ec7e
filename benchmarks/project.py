"""A copy of this project to run commands in, and a Prefect server."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Cost, run_command

ROOT = Path(__file__).parents[1]
_START = 120.0  # seconds a server has to answer

# No account, no network, no user's settings.
ENVIRONMENT = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in
       (("NAME", "Benchmark"), ("EMAIL", "benchmark@example.com"))},
}  # fmt: skip


class Project:
    """A copy of the files that git tracks here or would track, committed, in a repository with a DVC cache of its own.

    Whatever the user has set for git, DVC, Prefect and W&B stays out of it.
    """

    def __init__(self, folder: Path):
        """Copy the project into a folder, which takes a home beside the copy; folder: empty."""
        self.path = folder / "project"
        self._home = folder / "home"
        self._home.mkdir()
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in names.split("\0"):
            if name and (ROOT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.path / name)
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.commit()

    @property
    def environment(self) -> dict[str, str]:
        """What makes programs work on the copy alone."""
        return {
            **ENVIRONMENT,
            "PREFECT_HOME": str(self._home / "prefect"),
            "GIT_CONFIG_GLOBAL": str(self._home / "gitconfig"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }

    def run(self, *command: str, **variables: str) -> Cost:
        """Run a command in the copy; see `benchmarks.harness.run_command`."""
        return run_command(command, self.path, **self.environment, **variables)

    def run_stages(self, *command: str) -> dict[str, float]:
        """Run a command of DVC's in the copy; gives the seconds of each stage by its name, and those of `all`.

        A stage's end when DVC has stored its outputs and says what comes next.

        Raises:
            RuntimeError: it failed; with the end of what it printed.
        """
        begun, printed, started = {}, [], time.perf_counter()
        environment = {**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"}
        program = shutil.which(command[0], path=environment["PATH"]) or command[0]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen((program, *command[1:]), cwd=self.path, env=environment, **pipes) as process:
            assert process.stdout is not None
            for line in process.stdout:
                printed.append(line)
                if found := re.match(r"Running stage '(.+)':", line):
                    begun[found[1]] = time.perf_counter()
        ended = time.perf_counter()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{''.join(printed[-20:])}")
        ends = [*begun.values(), ended][1:]
        seconds = {name: end - start for (name, start), end in zip(begun.items(), ends, strict=True)}
        return seconds | {"all": ended - started}

    def commit(self) -> None:
        """Commit all that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "change")


@contextmanager
def prefect_server(project: Project) -> Iterator[Callable[[], str]]:
    """Start a server on this machine alone, while something else is done.

    Gives a function that waits until it answers and gives the address of its API.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        env={**os.environ, **project.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield lambda: _wait_for(f"http://127.0.0.1:{port}/api")
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str) -> str:
    end = time.monotonic() + _START
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return url
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise RuntimeError(f"no Prefect server answers at {url} after {_START:.0f} s")
