"""How long does each entry point take to start?

`python -m flows.pipeline --help` beside `python -c "import prefect"`, in pairs; the others as medians of three starts,
in turn: a stage is started by importing its module, as it does before it reads params.yaml.
"""

import sys

from benchmarks.harness import PAIRS, Cost, Row, in_turn, median_of, run_command
from benchmarks.project import ROOT

_MORE = 0.1  # seconds that --help may take beyond Prefect alone
_STARTS = 3
_HELP = ("-m", "flows.pipeline", "--help")
_PREFECT = ("-c", "import prefect")
_OTHERS = {
    "python": ("-c", "pass"),
    **{f"stages.{name}": ("-c", f"import stages.{name}.__main__") for name in
       ("source", "download", "split", "train", "test", "export")},
    "python -m lightline predict --help": ("-m", "lightline", "predict", "--help"),
    "flows.pipeline, as a deployment loads it": ("-c", "import flows.pipeline"),
}  # fmt: skip


def run(quick: bool) -> list[Row]:
    """Return a row for --help and, unless quick, one for each other entry point."""
    pairs = in_turn(lambda: _start(_HELP), lambda: _start(_PREFECT), 2 if quick else PAIRS)
    ours, reference = pairs.seconds()
    asked = f"at most {_MORE} s more"
    cells = (pairs.ratio(), pairs.ratio("cpu"), asked, ours - reference <= _MORE)
    rows = [
        Row("python -m flows.pipeline --help, beside import prefect", f"{ours:.2f} s", f"{reference:.2f} s", *cells)
    ]
    if quick:
        return rows
    starts: dict[str, list[Cost]] = {name: [] for name in _OTHERS}
    for _ in range(_STARTS):
        for name, arguments in _OTHERS.items():
            starts[name].append(_start(arguments))
    return rows + [_row(name, costs) for name, costs in starts.items()]


def _row(name: str, costs: list[Cost]) -> Row:
    return Row(name, f"{median_of(costs):.2f} s ({median_of(costs, 'cpu'):.2f} s of CPU)")


def _start(arguments: tuple[str, ...]) -> Cost:
    return run_command((sys.executable, *arguments), ROOT)
