"""Promotions through Prefect: the flow, and a run of the pipeline that ends with one."""

import shutil
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.prefect_server import Server
from tests.support.project import Project
from tests.support.workspace import until

_ASK = "import asyncio; from flows.promote import promote; asyncio.run(promote(**{}))"


@pytest.fixture
def finished(finished_project: Project, tmp_path: Path) -> Project:
    return Project(shutil.copytree(finished_project.path, tmp_path / "project", symlinks=True))


def test_the_verdict_is_an_artifact_and_an_event_and_a_run_ends_with_it(finished: Project, server: Server, flow):
    quiet = {"PREFECT_API_URL": server.url, "WANDB_MODE": "disabled"}
    finished.run(sys.executable, "-c", _ASK.format({"experiment": "HEAD", "first": True}), **quiet)
    run = next(run for run in server.flow_runs() if run["parameters"].get("experiment") == "HEAD")
    assert (run["state_type"], run["state"]["message"][:9]) == ("COMPLETED", "PROMOTE: "), server.logs(run["id"])
    assert server.artifacts(run["id"])["promotion"].startswith("# PROMOTE")
    head = finished.run("git", "rev-parse", "HEAD").stdout.strip()
    until(lambda: events(server, head), "the event has arrived")
    (event,) = events(server, head)
    assert event["payload"]["verdict"] == "PROMOTE"
    assert "classifier#champion#1" in finished.run("git", "tag").stdout

    settings = ("-S", "promote.auto=true", "-S", "promote.max_latency_ratio=null")
    done = flow(finished, "-n", "same", *settings, WANDB_MODE="disabled")
    assert "promotion: HOLD" in done.stdout
    assert "HOLD: The model is the champion's own file: there is nothing to compare." in done.stdout + done.stderr
    assert finished.run("git", "tag", "--list", "classifier#*").stdout == "classifier#champion#1\n"

    failed = finished.run(sys.executable, "-c", _ASK.format({"experiment": "nobody"}), check=False, **quiet)
    assert "There is no experiment or commit 'nobody' here" in failed.stderr + failed.stdout


def events(server: Server, challenger: str) -> list:
    """Of promotions of a commit: other tests have events on this server, too."""
    query = {"filter": {"event": {"name": ["lightline.promotion"]}}}
    found = httpx.post(f"{server.url}/events/filter", json=query, timeout=30)
    told = found.raise_for_status().json()["events"]
    return [event for event in told if event["payload"]["challenger"]["commit"] == challenger]
