"""Train on this machine too, in a training that another one has begun.

python -m lightline join HOST:PORT
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from lightline.config.load import PARAMS_VARIABLE
from lightline.errors import LightlineError
from lightline.files import whole_file
from lightline.runtime.origin import records
from lightline.runtime.ranks import launcher

_TORCH_LOG = "TORCH_CPP_LOG_LEVEL"


def main(arguments: Sequence[str]) -> int:
    """Wait for the first node, take its parameters, and become its train stage; does not come back."""
    parser = argparse.ArgumentParser(
        prog="python -m lightline join",
        description="Train on this machine too: in a clone of the same commit, with data/ as the first node has it.",
        epilog="The first node prints HOST:PORT; its parameters are taken from it. Nothing is written here: the "
        "results are the first node's.",
    )
    parser.add_argument("place", metavar="HOST:PORT", help="where the first node is")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds to wait for it (default: %(default)g)")
    options = parser.parse_args(arguments)
    host, _, port = options.place.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        parser.error(f"{options.place!r} is no HOST:PORT, as in 10.0.0.5:29500")
    if not options.timeout > 0:
        parser.error(f"--timeout {options.timeout:g} must be more than 0 seconds")
    try:
        environment = _join(host, int(port), options.timeout)
    except LightlineError as error:
        sys.exit(f"error: {error}")
    os.execve(sys.executable, (sys.executable, "-m", "stages.train"), environment)  # noqa: S606 (it takes this place)


def _join(host: str, port: int, timeout: float) -> dict[str, str]:
    """Wait for the first node; gives the environment of the train stage."""
    environment = {**os.environ, "MASTER_ADDR": host, "MASTER_PORT": str(port)}
    os.environ.setdefault(_TORCH_LOG, "FATAL")  # of a connection that is refused torch prints its own stack
    from stages.train.nodes import JOINED, PARAMS, connect

    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise LightlineError(f"There is no host {host!r}: {error.strerror}.") from None
    print(f"waiting for the first node at {host}:{port}", flush=True)
    store = connect(host, port, timeout)
    params = store.get(PARAMS)
    if launcher() == "lightning":  # else SLURM has given numbers
        number, total = store.add(JOINED, 1), yaml.safe_load(params)["hardware"]["num_nodes"]
        if number >= total:
            raise LightlineError(
                f"All {total} places of the training at {host}:{port} are taken (hardware.num_nodes). If one that had "
                "joined was ended before the training began, start the first node again: it goes on where it was."
            )
        environment["NODE_RANK"] = str(number)
    path = Path(records(), "joined", f"{os.getpid()}.yaml")
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_bytes(params)
    return environment | {PARAMS_VARIABLE: str(path)}
