"""From a log to an alarm to a retraining, which is started once whatever is killed on the way."""

import asyncio
import json
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from PIL import Image

from flows import retraining
from flows.errors import RequestError
from flows.retraining import Outcome, Request, Started, refuse, retrain
from tests.support.drift import DAY, FINGERPRINT, some_images, write_log, write_model
from tests.support.prefect_server import Server
from tests.support.samples import random_pixels
from tests.support.workspace import until

_QUIET = {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
_NOW = datetime(2026, 3, 10, tzinfo=UTC)
_REQUEST = Request("2026-03-03T00:00:00Z", FINGERPRINT, "new", "old", False, timedelta(days=7), 2)

# The flow in a process of its own, which kills itself before or after it asks Prefect for the retraining.
_RUN = """
import asyncio, os, signal, sys
from flows import retraining
from flows.monitor import monitor

ask, images, kill, rev = retraining.arun_deployment, *sys.argv[1:]

async def killed(*arguments, **settings):
    if kill == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    await ask(*arguments, **settings)
    os.kill(os.getpid(), signal.SIGKILL)

if kill != "never":
    retraining.arun_deployment = killed
state = asyncio.run(monitor(images, overrides=["monitor.retrain=true"], rev=rev, return_state=True))
print(state.name, state.message, sep=": ")
"""


@pytest.fixture
def watched(small_project, exported, tmp_path: Path):
    """A project that was trained on photos in a folder, its model file, and a log of two days, both too dark."""
    for number in range(4):
        _add_photo(tmp_path, number)
    stages = (small_project.path / "dvc.yaml").read_text()
    stages = stages.replace("mkdir -p data && cp raw.txt data/source.json", "python -m stages.source")
    (small_project.path / "dvc.yaml").write_text(stages)
    config = small_project.path / "conf/config.yaml"
    config.write_text(config.read_text().replace("- data: digits", "- data: folder"))
    small_project.set_conf("data/folder", path=str(tmp_path / "photos"))
    small_project.run("dvc", "repro", "download")
    write_model(exported("cnn")[1], small_project.path, some_images(500, 0))
    for number in (0, 1):
        write_log(small_project.path / "logs", some_images(150, 1 + number, darker=2), DAY + timedelta(days=number))
    small_project.commit("watched")
    return small_project


def _add_photo(folder: Path, number: int) -> None:
    path = folder / "photos" / "ab"[number % 2] / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_pixels(16, 16, 3, seed=number)).save(path)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("deployed")
def test_an_alarm_trains_again_once_and_only_on_new_data(watched, server: Server, start_worker, tmp_path: Path):
    rev = watched.commit("now")

    def run(kill: str = "never"):
        command = (sys.executable, "-c", _RUN, "logs", kill, rev)
        return watched.run(*command, check=False, PREFECT_API_URL=server.url, **_QUIET)

    def retrainings() -> list[dict]:
        return [one for one in server.flow_runs() if "retraining" in one["tags"] and one["parameters"]["rev"] == rev]

    start_worker(**_QUIET)

    refused = run().stdout
    assert refused.startswith("Drift: drift, last in 2026-03-03T00:00:00Z: brightness (Kolmogorov-Smirnov: distance 0.")
    assert "Nothing was trained again: there are no new labelled data" in refused
    assert not retrainings()
    until(lambda: _events(server), "Prefect has the event")
    (event,) = _events(server)
    assert event["payload"]["alarm"] == "2026-03-03T00:00:00Z"

    _add_photo(tmp_path, 4)
    assert run("before").returncode == -signal.SIGKILL
    assert [one["flow_run"] for one in _journal(watched)] == [None]
    assert not retrainings()
    assert run("after").returncode == -signal.SIGKILL
    assert [one["flow_run"] for one in _journal(watched)] == [None]
    assert len(retrainings()) == 1

    settings = ("-p", 'overrides=["monitor.retrain=true"]', "-p", f"rev={rev}", "--watch")
    watched.run("prefect", "deployment", "run", "monitor/daily", *settings, PREFECT_API_URL=server.url)
    (trained,) = retrainings()
    assert trained["state_type"] == "COMPLETED", server.logs(trained["id"])
    assert [one["flow_run"] for one in _journal(watched)] == [trained["id"]]
    (daily,) = (one for one in server.flow_runs() if one["parameters"].get("images") == "logs" and one["deployment_id"])
    assert daily["state_name"] == "Drift"
    assert f"Trained again: experiment {trained['name']} · ran " in daily["state"]["message"]
    assert {"windows", "drift"} <= set(server.artifacts(daily["id"]))

    assert "Trained again" in run().stdout
    assert [one["id"] for one in retrainings()] == [trained["id"]]


def _events(server: Server) -> list[dict]:
    """Of this model: other tests have events on this server, too."""
    wanted = {"filter": {"event": {"name": ["lightline.drift"]}}}
    told = httpx.post(f"{server.url}/events/filter", json=wanted, timeout=30).raise_for_status().json()["events"]
    return [event for event in told if event["resource"]["prefect.resource.id"].endswith(FINGERPRINT[:16])]


def _journal(project) -> list[dict]:
    return json.loads((project.path / ".lightline/retrainings.json").read_text())


@pytest.mark.parametrize(
    ("changes", "days_ago", "told"),
    [
        ({}, [], None),
        ({}, [8], None),
        ({"is_over": True}, [], "the images of the latest window are like the test images again."),
        ({"source": None}, [], "the source of the images is not on this machine"),
        ({"source": "old"}, [], "there are no new labelled data"),
        ({"source": "of 8 days ago"}, [8], "there are no new labelled data"),
        ({}, [6], "the last retraining began at 2026-03-04T00:00:00+00:00, and monitor.cool_down_days = 7"),
        ({"cool_down": timedelta(0)}, [6], None),
        ({"cool_down": timedelta(0)}, [6, 2], "2 retrainings began within a week, and monitor.most_a_week = 2"),
        ({"cool_down": timedelta(0)}, [8, 2], None),
    ],
)
def test_what_speaks_against_training_again_is_told(changes, days_ago, told):
    started = [
        Started(f"window {days}", f"of {days} days ago", (_NOW - timedelta(days=days)).isoformat()) for days in days_ago
    ]
    found = refuse(Request(**{**vars(_REQUEST), **changes}), started, _NOW)
    assert found is None if told is None else told in found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of what was asked of a Prefect that does not answer the first time."""
    asked: list[str] = []

    async def ask(key: str, parameters: dict) -> str:
        asked.append(key)
        if len(asked) == 1:
            raise RequestError("There is no deployment")
        return str(UUID(int=len(asked)))

    async def wait(flow_run: UUID) -> Outcome:
        return Outcome(str(flow_run))

    monkeypatch.setattr(retraining, "_ask", ask)
    monkeypatch.setattr(retraining, "_wait_for", wait)
    return asked


def test_what_prefect_has_not_answered_is_asked_for_again_and_speaks_against_nothing(tmp_path, asked):
    later = replace(_REQUEST, window="a later one")
    with pytest.raises(RequestError):
        asyncio.run(retrain(tmp_path, _REQUEST, {}))
    assert asyncio.run(retrain(tmp_path, later, {})).told == str(UUID(int=2))
    assert asked == [_REQUEST.key] * 2, "Prefect may have it under that key"
    assert asyncio.run(retrain(tmp_path, later, {})).told == str(UUID(int=2)), "it is taken up"
    assert "there are no new labelled data" in asyncio.run(retrain(tmp_path, _REQUEST, {})).told
    assert len(asked) == 2


def test_what_prefect_has_not_answered_lets_nothing_be_trained_twice(tmp_path, asked):
    """The data have changed between two windows: what the second one started had the new ones."""
    request = replace(_REQUEST, cool_down=timedelta(0))
    with pytest.raises(RequestError):
        asyncio.run(retrain(tmp_path, request, {}))
    for window in ("second", "third"):
        told = asyncio.run(retrain(tmp_path, replace(request, window=window, source="newer"), {})).told
        assert told == str(UUID(int=2)) if window == "second" else "there are no new labelled data" in told
    assert len(asked) == 2
