"""The model that a git repository's newest tag names: `git` says which, `dvc artifacts get` brings it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lightline_predict.errors import ModelFileError

_LOOKING, _BRINGING = 60, 1800  # seconds
_SAID = 500  # characters of what git or DVC says, of which the last say most
# git asks nobody for a password, and starts no program that an address names (ext::…).
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "DVC_NO_ANALYTICS": "1"}


class FileSource:
    """A model file on this machine, looked at again and again."""

    def __init__(self, path: Path):
        self._path = path

    def state(self) -> object:
        """Give what changes where the file does; None where there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def bring(self) -> tuple[Path, str]:
        """Give the path of the model file, and where it comes from, for a person."""
        return self._path, str(self._path)

    def stop(self) -> None:
        """Do nothing: nothing here takes time."""


class GitSource:
    """The artifact of a git repository that is at a stage, as GTO's tags have it: ARTIFACT#STAGE#N."""

    def __init__(self, url: str, artifact: str, stage: str):
        """Look whether it can be used.

        Raises:
            ModelFileError: a program is missing, or the address is none.
        """
        if url.startswith("-"):
            raise ModelFileError(f"{url} is no address of a git repository.")
        if re.search(r"^https?://[^/]*@|://[^/]*:[^/]*@|[?]", url):
            raise ModelFileError("the address after --from holds a user or a key: leave that to git's credentials.")
        for program, said in (
            ("git", "install git"),
            ("dvc", "`pip install dvc`, with the remote's kind as in dvc[s3]"),
        ):
            if shutil.which(program) is None:
                raise ModelFileError(f"--from needs the program {program}: {said}; or name a model file instead.")
        self._url, self._artifact, self._stage = url, artifact, stage
        self._folder = tempfile.TemporaryDirectory(prefix="lightline-predict-")
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False

    def state(self) -> object:
        """Give the tags of the stage; they change where another model is to answer.

        Raises:
            ModelFileError: git cannot ask, or there is none.
        """
        pattern = f"refs/tags/{self._artifact}#{self._stage}*"
        said = self._run(("git", "ls-remote", "--tags", "--refs", "--", self._url, pattern), _LOOKING)
        if not said.strip():
            raise ModelFileError(
                f"{self._url} has no tag {self._artifact}#{self._stage}#N; "
                f"`gto assign {self._artifact} --stage {self._stage}` makes one, `git push --tags` shows it."
            )
        return said

    def bring(self) -> tuple[Path, str]:
        """Bring the model file here; gives its path, and where it comes from, for a person.

        Raises:
            ModelFileError: DVC cannot bring it.
        """
        path = Path(self._folder.name, "model.onnx")
        command = (
            "dvc",
            "artifacts",
            "get",
            "-f",
            "--stage",
            self._stage,
            "-o",
            str(path),
            self._url,
            self._artifact,
        )
        self._run(command, _BRINGING)
        return path, f"{self._url} {self._artifact}#{self._stage}"

    def stop(self) -> None:
        """End what git or DVC are doing, from another thread, and let them do no more."""
        self._is_stopped = True
        if self._process is not None:
            _kill(self._process)

    def _run(self, command: Sequence[str], seconds: float) -> str:
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        environment = os.environ | _ENVIRONMENT
        told = f"`{' '.join(command)}`"
        # A session of its own: what it starts (git-remote-https, ssh) holds its pipes, and is ended with it.
        with subprocess.Popen(
            command, env=environment, stdin=none, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        ) as process:
            self._process = process
            if self._is_stopped:
                _kill(process)
            try:
                printed, said = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise ModelFileError(f"{told} took more than {seconds} s.") from None
            finally:
                _kill(process)
        if process.returncode:
            words = " ".join(said.split()) or f"status {process.returncode}"
            raise ModelFileError(f"{told} failed: {words[-_SAID:]}")
        return printed


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process, if it has not ended, and what it has started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.kill() if sys.platform == "win32" else os.killpg(process.pid, signal.SIGKILL)
