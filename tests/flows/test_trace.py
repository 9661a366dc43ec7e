"""The runs of Prefect that a file leads to, on a real server."""

import json

import httpx
import pytest

from commands.tracing.runs import prefect_runs

FINGERPRINT, OTHER = "a" * 64, "a" * 12 + "b" * 52  # alike in what a tag has of them


@pytest.fixture
def recorded(server) -> str:
    """The id of a run that the flow has labelled with the fingerprint, as flows/results.py does; another has OTHER."""
    ids = []
    with httpx.Client(base_url=f"{server.url}/") as client:
        flow = client.post("flows/", json={"name": "traced"}).raise_for_status().json()["id"]
        for name, fingerprint in (("mine", FINGERPRINT), ("another", OTHER)):
            asked = {"flow_id": flow, "name": name, "tags": [f"fingerprint:{fingerprint[:12]}"]}
            run = client.post("flow_runs/", json=asked | {"state": {"type": "COMPLETED", "name": "Completed"}})
            ids.append(run.raise_for_status().json()["id"])
            client.patch(f"flow_runs/{ids[-1]}/labels", json={"fingerprint": fingerprint}).raise_for_status()
    return ids[0]


def test_the_runs_of_a_fingerprint_are_found(server, recorded, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    found = prefect_runs(FINGERPRINT)
    assert found["server"] == server.url
    assert [(run["id"], run["name"], run["state_name"]) for run in found["runs"]] == [(recorded, "mine", "Completed")]
    assert prefect_runs("c" * 64)["runs"] == []


def test_a_server_that_is_gone_is_said_to_be(free_port, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert prefect_runs(FINGERPRINT)["reason"] == "PREFECT_API_URL names no server"
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    found = prefect_runs(FINGERPRINT)
    assert (found["runs"], found["reason"]) == (None, "it gave no answer (ConnectError)")
    assert json.dumps(found)
