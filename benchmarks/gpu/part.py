"""Run one part in this process: `python -m benchmarks.gpu.part NAME ANSWER.json DEVICE SECONDS`.

Each row is written when it is found, so that a part which is stopped leaves those that it had.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

# As the stages have it: read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks.gpu.work import Plan, failed
from benchmarks.harness import Row
from benchmarks.report import table


def main() -> None:
    """Run a part, whose module has a `run(plan: Plan) -> Iterator[Row]`."""
    name, answer, device, seconds = sys.argv[1:]
    rows: list[Row] = []
    for row in _rows(name, Plan(device, float(seconds))):
        rows.append(row)
        Path(answer).write_text(json.dumps([each.as_dict() for each in rows]))
    print(table(rows), flush=True)


def _rows(name: str, plan: Plan) -> Iterator[Row]:
    try:
        yield from import_module(f"benchmarks.gpu.{name}").run(plan)
    except Exception as error:
        traceback.print_exc()
        yield failed(name, error)


if __name__ == "__main__":
    main()
