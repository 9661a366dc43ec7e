"""Look at the source of the images and write down what identifies its content.

Runs at every `dvc repro`, takes a fraction of a second, and makes `download` run again when the source has changed.
"""

import sys
from pathlib import Path

from lightline.files import write_json
from lightline.left_behind import left_behind
from lightline.params import Params
from lightline.sources import open_source
from lightline.stage import run_stage

SOURCE = Path("data/source.json")


def main(params: Params) -> None:
    # Here, because this stage is the first of every run.
    if left := left_behind():
        print(f"warning: {left}", file=sys.stderr, flush=True)
    write_json(SOURCE, open_source(params.data).identity())


if __name__ == "__main__":
    run_stage(main)
