"""The runs of a fingerprint: W&B's, by what its client has left here, and Prefect's, where its server answers."""

import base64
import json
import os
from contextlib import suppress
from typing import Any

from lightline.runtime.origin import origin

_TIMEOUT = 3  # seconds; a server that takes longer is left out
_MOST = 20  # runs of Prefect
_SHORT = 12  # digits of a fingerprint in a tag, see flows/results.py


def wandb_run(fingerprint: str) -> dict[str, Any] | None:
    """Find W&B's run: its id and name, and the folders here that `wandb sync` sends."""
    home = origin()
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads((home / ".lightline" / "runs" / f"{fingerprint}.json").read_bytes())
        folders = sorted(str(path.relative_to(home)) for path in home.glob(f"wandb/*run-*-{known['id']}"))
        return {"id": known["id"], "name": known.get("name"), "folders": folders}
    return None


def prefect_runs(fingerprint: str) -> dict[str, Any]:
    """List Prefect's flow runs, latest first: server, and runs (None where it gave none, with the reason)."""
    address = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not address:
        return {"server": None, "runs": None, "reason": "PREFECT_API_URL names no server"}
    import httpx  # Prefect brings it; its own client would try for minutes

    asked = {
        "flow_runs": {"tags": {"all_": [f"fingerprint:{fingerprint[:_SHORT]}"]}},
        "sort": "START_TIME_DESC",
        "limit": _MOST,
    }
    try:
        answer = httpx.post(
            f"{address}/flow_runs/filter", json=asked, headers=_identity(), timeout=_TIMEOUT, trust_env=False
        )
        answer.raise_for_status()
        runs = [run for run in answer.json() if run["labels"].get("fingerprint", fingerprint) == fingerprint]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return {"server": address, "runs": None, "reason": f"it gave no answer ({type(error).__name__})"}
    shown = ("id", "name", "state_name", "start_time")
    return {"server": address, "runs": [{name: run.get(name) for name in shown} for run in runs]}


def _identity() -> dict[str, str]:
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if password := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"}
    return {}
