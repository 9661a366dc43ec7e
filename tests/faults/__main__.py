"""Kill runs as often as asked, and print what became of it: `python -m tests.faults N`, or `make faults N=300`."""

import argparse
import os
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from tests.faults.chains import (
    COMMAND,
    FLOW,
    Outcome,
    flow_kills,
    named_kills,
    prepare,
    random_kills,
    results,
    run_chain,
    service_kills,
    table,
)
from tests.faults.victim import Kill, Victim
from tests.support.prefect_server import prefect_server
from tests.support.project import ENVIRONMENT

_SHOWN = 3000  # last characters of what went wrong
_RANDOM = 5  # kills at random instants in a chain of them


def main() -> int:
    """Chains of kills, as many at a time as there are processors; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("number", type=int, help="kills, at least")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    template = prepare(folder / "template")
    reference = prepare(folder / "undisturbed" / "project")
    undisturbed = Victim(reference, COMMAND)
    assert undisturbed.finish() == 0, undisturbed.said()
    expected = results(reference)

    def run(numbered: tuple[int, list[Kill]]) -> list[Outcome]:
        number, kills = numbered
        command = FLOW if any(kill.kind == "flow" for kill in kills) else COMMAND
        outcomes, problem = run_chain(template, folder / str(number), kills, expected, command)
        told = f"chain {number}: {len(outcomes)} kills" + (
            f"; see {folder / str(number)}: {problem}" if problem else ""
        )
        print(told, file=sys.stderr, flush=True)
        return outcomes

    with prefect_server(folder) as server, ThreadPoolExecutor(os.cpu_count()) as pool:
        os.environ["PREFECT_API_URL"] = server.url
        chains = pool.map(run, enumerate(_chains(options.number, random.Random(options.seed))))
        outcomes = [outcome for chain in chains for outcome in chain]
    print(table(outcomes, "kind"), table(outcomes, "point"), sep="\n\n")
    return 0 if all(outcome.recovered and outcome.identical for outcome in outcomes) else 1


def _chains(number: int, generator: random.Random) -> list[list[Kill]]:
    chains: list[list[Kill]] = []
    for turn in count():
        if sum(map(len, chains)) >= number:
            return chains
        makers = (named_kills, lambda source: random_kills(source, _RANDOM), flow_kills, service_kills)
        chains.append(makers[turn % len(makers)](generator))
    return chains


if __name__ == "__main__":
    sys.exit(main())
