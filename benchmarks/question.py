"""Ask one question in this process: `python -m benchmarks.question NAME ANSWER.json [--quick]`."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

# As the stages have it: read when torch loads, which a question's own imports do.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks.report import table
from benchmarks.sources import MissingDataError


def main() -> None:
    """Ask one question, whose module has a docstring that asks it and `run(quick: bool) -> list[Row]`."""
    name, answer = sys.argv[1:3]
    module = import_module(f"benchmarks.{name}")
    content = {"question": (module.__doc__ or name).strip()}
    try:
        rows = module.run("--quick" in sys.argv[3:])
    except MissingDataError as error:
        content |= {"skipped": str(error)}
        print(error)
    else:
        content |= {"rows": [row.as_dict() for row in rows]}
        print(table(rows), flush=True)
    Path(answer).write_text(json.dumps(content))


if __name__ == "__main__":
    main()
