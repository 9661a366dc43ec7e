"""What a run refuses: keys in what is asked for, and a server that is open to the network."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.errors import RequestError
from flows.labels import labels
from flows.own_command import run_own_command
from flows.promote import promote
from flows.security import refuse_keys, refuse_open_server
from tests.support import ROOT
from tests.support.project import PLANTED

KEY = "9f8e7d6c5b4a39281706f5e4"


@pytest.mark.parametrize(
    ("override", "name"),
    [
        (f"tracking.api_key={KEY}", "tracking.api_key"),
        (f"+wandb.token={KEY}", "wandb.token"),
        (f"data.path=https://me:{KEY}@host/a.zip", "data.path"),
        (f"data.path=https://host/a.zip?key={KEY}", "data.path"),
        (f"tracking.entity={KEY}", "tracking.entity"),
        ("tracking.entity=${oc.env:WANDB_API_KEY}", "tracking.entity"),
    ],
)
def test_a_key_in_an_override_is_refused_and_not_repeated(override, name, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", KEY)
    with pytest.raises(RequestError, match=f"The override of {name} holds .*Take it out") as caught:
        refuse_keys(["seed=1", override], ".")
    assert KEY not in str(caught.value)


def test_a_key_in_the_repositorys_address_is_refused():
    with pytest.raises(RequestError, match="repo holds a user name or password in a URL") as caught:
        refuse_keys([], f"https://me:{KEY}@host/x.git")
    assert KEY not in str(caught.value)
    refuse_keys(["model=resnet18", "~augment", "data.path=a.zip"], "git@github.com:me/x.git")


@pytest.mark.parametrize("place", ["override", "repo"])
def test_from_a_terminal_a_key_reaches_neither_the_server_nor_the_log(small_project, flow, server, place):
    before = len(server.flow_runs())
    address = f"https://me:{KEY}@127.0.0.1:9/x"
    arguments = ("-S", f"data.path={address}.zip") if place == "override" else ("--repo", f"{address}.git")
    done = flow(small_project, *arguments, check=False)
    assert done.returncode == 1
    assert KEY not in done.stdout + done.stderr
    assert "holds a user name or password in a URL" in done.stderr
    assert len(server.flow_runs()) == before


@pytest.mark.parametrize("flow", [promote, labels], ids=lambda flow: flow.name)
def test_flows_that_run_commands_refuse_a_key_too(flow):
    state = asyncio.run(flow.fn(repo=f"https://me:{KEY}@host/x.git"))
    assert state.is_failed()
    assert "repo holds a user name or password in a URL" in state.message
    assert KEY not in state.message


def test_what_a_command_prints_is_without_keys(monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", KEY)
    status, lines = asyncio.run(run_own_command(ROOT, KEY))
    assert status != 0
    assert "…" in "".join(lines)
    assert KEY not in "".join(lines)


def test_a_key_that_a_stage_prints_reaches_neither_the_log_nor_prefects_database(small_project, flow, server, set_work):
    set_work(small_project, "print('the key is', os.environ['SERVICE_SECRET'], '!')")
    done = flow(small_project)
    logs = server.logs(server.flow_runs()[0]["id"])
    assert "the key is … !" in logs
    files = [file for file in server.home.rglob("*") if file.is_file()]
    assert any(b"the key is" in file.read_bytes() for file in files)
    for secret in PLANTED.values():
        assert secret not in done.stdout + done.stderr
        assert not [file for file in files if secret.encode() in file.read_bytes()]


@contextmanager
def listening(host: str, status: int) -> Iterator[int]:
    """Something that answers every request with this status, on a port of this machine's addresses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def refuse(url: str, **settings: str) -> None:
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_KEY,
        PREFECT_API_URL,
        temporary_settings,
    )

    names = {"auth": PREFECT_API_AUTH_STRING, "key": PREFECT_API_KEY}
    with temporary_settings({PREFECT_API_URL: url, **{names[name]: value for name, value in settings.items()}}):
        asyncio.run(refuse_open_server())


def test_a_server_open_to_the_network_without_a_password_is_refused():
    with listening("0.0.0.0", 200) as port, pytest.raises(RequestError, match=r"listens on 0\.0\.0\.0 and asks for no"):
        refuse(f"http://127.0.0.1:{port}/api")


@pytest.mark.parametrize(("host", "status"), [("0.0.0.0", 401), ("127.0.0.1", 200)])
def test_a_server_with_a_password_or_on_this_machine_alone_is_used(host, status):
    with listening(host, status) as port:
        refuse(f"http://localhost:{port}/api")


@pytest.mark.parametrize("host", ["192.0.2.1", "prefect.example.org", "0.0.0.0", "[2001:db8::1]"])
def test_a_server_elsewhere_needs_https_or_a_password(host):
    with pytest.raises(RequestError, match="is neither on this machine nor behind https or a password"):
        refuse(f"http://{host}:4200/api")
    refuse(f"https://{host}/api")
    refuse(f"http://{host}:4200/api", auth="user:password")
    refuse(f"http://{host}:4200/api", key="pnu_1")
