"""A worker for the deployments: `python -m flows.worker`.

It first has Prefect know which runs of this machine have crashed: a worker by itself does not ask after those that died
together with the worker before it. Then it is `prefect worker start`, with the same options.
"""

import asyncio
import os
import sys
from pathlib import Path

from flows.leftovers import clear
from flows.repository import homes

_COMMAND = ("worker", "start", "--pool", "local", "--type", "process")


def main() -> None:
    """Does not come back."""
    for flow_run in asyncio.run(clear(homes())):
        print(f"Flow run {flow_run} has crashed: its processes are gone.", flush=True)
    prefect = str(Path(sys.executable).with_name("prefect"))
    os.execv(prefect, (prefect, *_COMMAND, *sys.argv[1:]))  # noqa: S606 (it takes this process's place)


if __name__ == "__main__":
    main()
