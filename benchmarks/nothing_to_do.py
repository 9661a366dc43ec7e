"""What does the flow cost where nothing has changed, beside `dvc repro`, with a Prefect server that is already up?

Whole processes, on a copy of this project in which every stage has run on the digits: `python -m flows.pipeline` clones
it, composes and checks the parameters, looks at every stage and publishes the results; `dvc repro` looks at every
stage. The server's own CPU seconds are not counted.
"""

import re
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import PAIRS, Row, in_turn
from benchmarks.project import Project, prefect_server

_MOST = 3.0  # times as long as dvc repro


def run(quick: bool) -> list[Row]:
    """Return one row: seconds of the flow and of `dvc repro`."""
    flow = (sys.executable, "-m", "flows.pipeline")
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        with prefect_server(project) as ready:
            _run_all_stages(project)
            url = ready()
            pairs = in_turn(
                lambda: project.run(*flow, PREFECT_API_URL=url),
                lambda: project.run("dvc", "repro"),
                2 if quick else PAIRS,
            )
    ours, reference = pairs.seconds()
    ratio = pairs.ratio()
    return [
        Row(
            "the flow, beside dvc repro",
            f"{ours:.2f} s",
            f"{reference:.2f} s",
            ratio,
            pairs.ratio("cpu"),
            f"at most {_MOST:.0f} times as long",
            1 / ratio <= _MOST,
        )
    ]


def _run_all_stages(project: Project) -> None:
    """Run all stages with one epoch: training is none of the question."""
    trainer = project.path / "conf" / "trainer" / "default.yaml"
    trainer.write_text(re.sub(r"(?m)^max_epochs: .*", "max_epochs: 1", trainer.read_text()))
    project.run(sys.executable, "tools/params.py")
    project.run("dvc", "repro")
    project.commit()
