"""Look at the source of the images and write down what identifies its content.

Runs at every `dvc repro`, takes a fraction of a second, and makes `download` run again when the source has changed.
"""

from pathlib import Path

from lightline.files import write_json
from lightline.params import Params
from lightline.sources import open_source
from lightline.stage import run_stage

SOURCE = Path("data/source.json")


def main(params: Params) -> None:
    write_json(SOURCE, open_source(params.data).identity())


if __name__ == "__main__":
    run_stage(main)
