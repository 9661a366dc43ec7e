"""The image's content, the job templates of its pools, and the deployments to them."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect.utilities.templating import apply_values, find_placeholders

from tests.support import ROOT
from tests.support.prefect_server import Server

_KEY = "pla9ted-" * 4
_POOLS = ("docker", "kubernetes")
_IMAGE = "registry.example.com/lightline"


def test_the_image_has_what_is_committed_and_nothing_else(project, tmp_path: Path):
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    (project.path / "params.yaml").write_text(_KEY)
    project.run("git", "stash")
    project.run("git", "commit", "--quiet", "--allow-empty", "--message", _KEY)
    project.run("git", "reset", "--quiet", "--hard", "HEAD~")
    project.run("git", "remote", "add", "origin", f"https://me:{_KEY}@example.com/photos.git")
    (project.path / ".dvc/config.local").write_text(_KEY)

    _build(project.path, tmp_path)
    clone = tmp_path / "clone"
    assert (tmp_path / "packages/packages.txt").stat().st_size > 100_000
    read = {"cwd": clone, "capture_output": True, "text": True, "check": True}
    assert subprocess.run(("git", "status", "--porcelain"), **read).stdout == ""
    assert subprocess.run(("git", "rev-parse", "HEAD"), **read).stdout.strip() == commit
    objects = ("git", "cat-file", "--batch-all-objects", "--batch", "--buffer")
    kept = subprocess.run(objects, cwd=clone, capture_output=True, check=True).stdout
    kept += b"".join(file.read_bytes() for file in clone.rglob("*") if file.is_file())
    assert _KEY.encode() not in kept
    assert subprocess.run(("git", "remote"), **read).stdout == ""


def _build(project: Path, target: Path) -> None:
    """Do what the Dockerfile's stage `code` does, with what .dockerignore lets in."""
    everything, *let_in = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert everything == "*"
    for name in (line.removeprefix("!") for line in let_in):
        source, copied = project / name, target / "git" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copied)
        elif source.exists():
            shutil.copy(source, copied)
    stage = re.search(
        r"AS code\n.*?\nCOPY \.git /git/\.git\nRUN (.*?)\n\n", (ROOT / "Dockerfile").read_text(), re.DOTALL
    )
    assert stage
    commands = re.sub(r" /(?=git|clone|packages)", f" {target}/", stage[1].replace('"$TORCH"', "cuda"))
    subprocess.run(commands, shell=True, check=True)


@pytest.mark.parametrize("pool", _POOLS)
def test_a_job_template_is_whole(pool: str):
    template = _template(pool)
    variables, job = template["variables"], template["job_configuration"]
    is_valid_schema(variables, preprocess=False)  # else it raises
    assert {each.name for each in find_placeholders(job)} == set(variables["properties"])
    defaults = {name: one["default"] for name, one in variables["properties"].items() if "default" in one}
    assert validate({"image": _IMAGE, **defaults}, variables) == []
    filled = apply_values(job, {"image": _IMAGE, **defaults})
    assert not find_placeholders({key: value for key, value in filled.items() if key != "job_manifest"})
    if pool == "kubernetes":
        _check_manifest(filled["job_manifest"])


def _check_manifest(manifest: dict[str, Any]) -> None:
    """What no schema says of it: it may not be root, and what it mounts is there."""
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}\n" in (ROOT / "Dockerfile").read_text()
    assert container["image"] == _IMAGE
    assert "command" not in container  # Prefect's is an argument of the image's entry point
    assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]


def test_the_pipeline_is_deployed_to_both_pools_by_the_documents_commands(server: Server):
    document = (ROOT / "docs/scaling.md").read_text()
    block = re.search(r"test_containers.py does these. -->\n```sh\n(.*?)```", document, re.DOTALL)
    assert block
    create, deploy = map(shlex.split, block[1].splitlines())
    assert create == shlex.split(
        "prefect work-pool create docker --type docker --base-job-template containers/docker.json"
    )
    with httpx.Client(base_url=server.url, timeout=60) as api:
        for pool in _POOLS:  # as that command does, which takes seconds to start
            made = {"name": pool, "type": pool, "base_job_template": _template(pool)}
            api.post("/work_pools/", json=made).raise_for_status()
        both = [*deploy, "--name", "kubernetes"]
        subprocess.run(both, cwd=ROOT, check=True, env={**os.environ, "PREFECT_API_URL": server.url})
        for pool in _POOLS:
            deployed = api.get(f"/deployments/name/pipeline/{pool}").raise_for_status().json()
            assert deployed["job_variables"] == {"image": _IMAGE}
            pull = {"prefect.deployments.steps.set_working_directory": {"directory": "/code"}}
            assert deployed["pull_steps"] == [pull]


def _template(pool: str) -> dict[str, Any]:
    return json.loads((ROOT / f"containers/{pool}.json").read_text())
