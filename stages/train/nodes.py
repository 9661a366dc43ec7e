"""Several machines that train together: they meet, compare what they are about to do, and notice when one is gone.

They meet at a TCPStore of torch's, which the first of them hosts (under torchrun its agent does) and the process group
uses after them: one address, one port. Its users are trusted, as torch.distributed trusts them; SECURITY.md has more.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import yaml
from torch.distributed import DistError, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from lightline.config.params import Hardware, Params
from lightline.errors import LightlineError
from lightline.runtime.ranks import launched_rank, launcher, node_rank, num_launched
from lightline.runtime.state_store import FINISHED
from lightline.runtime.training_folder import differences
from stages.train.heartbeat import Heartbeat
from stages.train.state_files import newest_state

PARAMS, JOINED = "params", "joined"  # keys of the store, which `python -m lightline join` reads
_STATE = "LIGHTLINE_STATE"  # tells the processes that Lightning starts on this machine which state was agreed on
_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"  # torch's: at MASTER_ADDR:MASTER_PORT someone serves a store already
_ELSEWHERE = "192.0.2.1"  # RFC 5737's, for documentation
_POLL = 0.2  # seconds
_FAREWELL = 5.0  # seconds for the others to read why they are refused


class NodeError(LightlineError):
    """The machines that were to train together do not."""


class Group:
    """The processes that this one trains with; here those of one machine, which share all it has, or none."""

    def agree(self, identity: dict[str, Any], folder: Path) -> Path | None:
        """Find the state that all go on from; None: from the beginning."""
        if (name := os.environ.get(_STATE)) is not None:
            return folder / name if name else None
        return newest_state(folder)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice, meanwhile, when one of the others is gone."""
        yield


def find_group(params: Params) -> Group:
    """Find the other machines, and tell them the parameters, where there are to be several.

    Raises:
        NodeError: they cannot be reached.
    """
    launched = launched_rank()
    total = params.hardware.num_nodes if launched is None else num_launched()
    if total == 1 or (launched is None and "LOCAL_RANK" in os.environ):  # that was started by one that has met them
        return Group()
    return Nodes(params, node_rank() if launched is None else launched, total)


class Nodes(Group):
    """Processes that nobody on this machine has started: one a machine, or under torchrun and SLURM all there are.

    number: of this one, 0 for the first.
    """

    def __init__(self, params: Params, number: int, total: int):
        self._number, self._total, self._patience = number, total, params.hardware.rendezvous_timeout
        host, port = _address(params.hardware)
        os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
        self._place = f"{host}:{port}"
        is_served = os.environ.get(_AGENT_STORE) == "True"
        self._store = _host(host, port) if number == 0 and not is_served else connect(host, port, self._patience)
        os.environ[_AGENT_STORE] = "True"
        _use_interface(host)
        if self._store.add(f"claim/{number}", 1) > 1:
            raise NodeError(f"Another process is number {number} of {total} at {self._place} already.")
        if number == 0:
            self._store.set(PARAMS, yaml.safe_dump(params.model_dump(mode="json")))
        self._set("host", socket.gethostname())

    def agree(self, identity: dict[str, Any], folder: Path) -> Path | None:
        """Hold what determines the result against that of the first, whose state all go on from.

        Raises:
            NodeError: one has not come in time, or differs; the message says which, and in what.
        """
        verdict = self._judge(identity, folder) if self._number == 0 else self._judged(identity)
        if verdict["refusal"]:
            raise NodeError(verdict["refusal"])
        os.environ[_STATE] = verdict["state"]
        return folder / verdict["state"] if verdict["state"] else None

    @contextmanager
    def watched(self) -> Iterator[None]:
        others = range(1, self._total) if self._number == 0 else [0]
        names = {other: self._name(other) for other in others}
        heartbeat = Heartbeat(self._place, self._number, names)
        try:
            yield
        except LightlineError as error:
            heartbeat.leave(str(error))
            raise
        except Exception as error:  # of a collective whose other end is gone, as gloo or NCCL put it
            if lost := heartbeat.find_lost():
                raise NodeError(lost) from error
            heartbeat.leave(f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            heartbeat.leave("interrupted")
            raise
        heartbeat.leave("")

    def _judge(self, identity: dict[str, Any], folder: Path) -> dict[str, str]:
        state = newest_state(folder)
        name, refusal = state.name if state else "", ""
        if name != FINISHED:  # else there is nothing to do together
            refusal = self._wait_for_others(identity)
        verdict = {"state": name, "refusal": refusal}
        self._store.set("verdict", json.dumps(verdict))
        if refusal:  # the store ends with this process
            come, end = sum(self._has(number) for number in range(1, self._total)), monotonic() + _FAREWELL
            while self._store.add("read", 0) < come and monotonic() < end:
                sleep(_POLL)
        return verdict

    def _wait_for_others(self, identity: dict[str, Any]) -> str:
        """Wait until all are there and compare; gives why this does not come to a training."""
        missing, end = set(range(1, self._total)), monotonic() + self._patience
        hint = f": on each, in a clone of this commit with the data, `python -m lightline join {self._place}`"
        print(f"waiting for {len(missing)} more at {self._place}{hint * (launcher() == 'lightning')}", flush=True)
        while missing:
            for number in [number for number in missing if self._has(number)]:
                theirs = json.loads(self._get("ingredients", number))
                if differing := differences(identity, theirs):
                    return _refusal(self._name(number), self._name(0), differing)
                missing.remove(number)
            if monotonic() > end:
                return (
                    f"{len(missing)} of the {self._total} machines or processes that train together did not come to "
                    f"{self._place} within {self._patience:g} s (hardware.num_nodes, hardware.rendezvous_timeout)."
                )
            sleep(_POLL)
        return ""

    def _judged(self, identity: dict[str, Any]) -> dict[str, str]:
        self._set("ingredients", json.dumps(identity))
        try:
            self._store.wait(["verdict"], timedelta(seconds=self._patience + _FAREWELL))
            verdict = json.loads(self._store.get("verdict"))
            self._store.add("read", 1)
        except DistError as error:
            raise NodeError(f"The first node, at {self._place}, has ended before training began.") from error
        return verdict

    def _set(self, key: str, value: str) -> None:
        self._store.set(f"{key}/{self._number}", value)

    def _get(self, key: str, number: int) -> str:
        return self._store.get(f"{key}/{number}").decode()

    def _has(self, number: int) -> bool:
        return self._store.check([f"ingredients/{number}"])

    def _name(self, number: int) -> str:
        return f"node {number} ({self._get('host', number)})"


def _refusal(theirs: str, ours: str, differing: str) -> str:
    return (
        f"{theirs[:1].upper()}{theirs[1:]} would train something else than {ours}: they differ in {differing}. "
        "Code: have both on the same commit. Data and split: `dvc pull`, or `dvc exp run` with the same overrides up "
        "to `split`."
    )


def _address(hardware: Hardware) -> tuple[str, int]:
    """Give where the first is to be found: as the environment has it, or the parameters, or this machine itself."""
    host = os.environ.get("MASTER_ADDR") or hardware.master_addr
    if host is None and launcher() == "slurm":
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

        host = SLURMEnvironment().main_address
    return host or _own_address(_ELSEWHERE) or "127.0.0.1", int(os.environ.get("MASTER_PORT") or hardware.master_port)


def _own_address(host: str) -> str | None:
    """Give this machine's address as another sees it; nothing is sent. None: there is no way there."""
    with suppress(OSError):
        family, _, _, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            out.connect(place)
            return out.getsockname()[0]
    return None


def _host(host: str, port: int) -> TCPStore:
    """Serve the store on this address alone: torch by itself listens on all of the machine's."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(place[:2], family=family)
        descriptor = listening.detach()
    except OSError as error:
        raise NodeError(
            f"This machine cannot listen at {host}:{port}: {error.strerror}. hardware.master_addr must be an address "
            "of the first node, hardware.master_port one that is free."
        ) from error
    return TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=descriptor)


def connect(host: str, port: int, patience: float) -> TCPStore:
    """Open the store of the first node.

    patience: seconds to wait for it.

    Raises:
        NodeError: nobody answers there.
    """
    try:
        return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=patience), wait_for_workers=False)
    except (DistError, ValueError) as error:
        raise NodeError(
            f"Nobody answered at {host}:{port} for {patience:g} s: is the first node training there?"
        ) from error


def _use_interface(host: str) -> None:
    """Have gloo and NCCL talk where the first node is; by themselves they go by the machine's own name."""
    own = _own_address(host)
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == own for each in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
