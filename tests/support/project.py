"""A whole project to test with: a git and DVC repository of its own, in a temporary folder."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

MAX_EPOCHS = yaml.safe_load((ROOT / "params.yaml").read_text())["trainer"]["max_epochs"]

# Keys that every process of the tests finds in its environment, and that no file, log or database may hold afterwards.
PLANTED = {"WANDB_API_KEY": "pla9ted0" * 5, "SERVICE_SECRET": "pla9ted-" * 4}

# No account, no network, no user's settings; one thread a process, because tests share the machine.
ENVIRONMENT = {
    **PLANTED,
    "SHELL": "/bin/sh",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "OMP_NUM_THREADS": "1",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
}


@dataclass(frozen=True)
class Project:
    """A copy of this project's working tree, committed, with a DVC cache of its own."""

    path: Path

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, its output captured as text.

        check: fail with the command's output where its exit status is not 0.
        variables: added to the environment.
        """
        process = subprocess.run(
            command, cwd=self.path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        if check and process.returncode != 0:
            pytest.fail(f"{' '.join(command)}: exit status {process.returncode}\n{process.stdout}\n{process.stderr}")
        return process

    def set_conf(self, choice: str, **values: object) -> None:
        """Edit values in conf/, as in `set_conf("trainer/default", max_epochs=1)`, and params.yaml with them."""
        from dvc.utils.hydra import compose_and_dump

        file = self.path / "conf" / f"{choice}.yaml"
        text = file.read_text()
        for key, value in values.items():
            text, replaced = re.subn(rf"(?m)^{key}: .*", f"{key}: {value}", text)
            assert replaced == 1, f"{key} is not in {file}"
        file.write_text(text)
        compose_and_dump(self.path / "params.yaml", str(self.path / "conf"), None, "config", str(self.path), [])

    def tags(self, *where: str) -> list[str]:
        """Where: a remote; default: here."""
        listed = self.run("git", "ls-remote", "--refs", "--tags", *where or (".",)).stdout.splitlines()
        return [line.partition("refs/tags/")[2] for line in listed]

    def commit(self, message: str = "change") -> str:
        """Commit all that git does not ignore; gives the commit's id."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def experiments(self) -> set[str]:
        """The names of all experiments recorded here."""
        refs = self.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
        return {ref.rsplit("/", 1)[1] for ref in refs if ref.count("/") == 4 and "/exec/" not in ref}


def copy_project(target: Path) -> Project:
    """The files that git tracks here or would track, in a new repository."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    project = Project(target)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit("start")
    return project
