"""Look at the source of the images and write down what identifies its content.

Runs at every `dvc repro`, takes a fraction of a second, and makes `download` run again when the source has changed.
"""

import sys
from pathlib import Path

from lightline.config.params import Params
from lightline.files import write_json
from lightline.runtime.left_behind import left_behind
from lightline.runtime.stage import run_stage
from lightline.sources import open_source
from lightline.sources.base import GoneError
from stages.source.recorded import recorded

SOURCE = Path("data/source.json")


def main(params: Params) -> None:
    # Here, because this stage is the first of every run.
    if left := left_behind():
        print(f"warning: {left}", file=sys.stderr, flush=True)
    try:
        identity = open_source(params.data).identity()
    except GoneError as gone:
        identity = recorded(gone)
        print(f"warning: {gone.what} The dataset that dvc.lock has of it is taken, whatever has changed there since.")
    write_json(SOURCE, identity)


if __name__ == "__main__":
    run_stage(main)
