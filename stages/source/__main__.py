"""Look at the source of the images, and at the file of weights, and write down what identifies their content.

Runs at every `dvc repro`, takes a fraction of a second, and makes `download` or `train` run again when it has changed.
"""

import os
import sys
from pathlib import Path

from lightline.config.model import Model
from lightline.config.params import Params, check_slices
from lightline.files import write_json
from lightline.runtime.left_behind import left_behind
from lightline.runtime.places import find_file
from lightline.runtime.stage import run_stage
from lightline.runtime.state_store import StateStore
from lightline.runtime.weights_file import check_weights_file
from lightline.sources import open_source, with_corrections
from lightline.sources.base import DescribesImages, GoneError
from lightline.sources.content_digests import digest_of_file
from stages.source.recorded import SOURCE, recorded

WEIGHTS = Path("data/weights.json")


def main(params: Params) -> None:
    # Here, because this stage is the first of every run.
    if left := left_behind():
        print(f"warning: {left}", file=sys.stderr, flush=True)
    try:
        source = open_source(params.data)
        # Now, and not in `test` after the training.
        check_slices(params.evaluate.slices, source.attribute_names if isinstance(source, DescribesImages) else [])
        identity = source.identity()
    except GoneError as gone:
        identity = recorded(gone)
        print(f"warning: {gone.what} The dataset that dvc.lock has of it is taken, whatever has changed there since.")
    if params.checkpoint.store is not None:  # now, too, and not in `train` after the decoding
        StateStore(params.checkpoint.store, f"check-{os.getpid()}").check()
    write_json(SOURCE, with_corrections(identity, params.data))
    write_json(WEIGHTS, {"sha256": _weights(params.model)})


def _weights(model: Model) -> str | None:
    """Give the SHA-256 of the file that training starts from. Where it is known, the file need not be here."""
    if model.weights_file is None or model.weights_sha256 is not None:
        return model.weights_sha256
    path = find_file(model.weights_file, "model.weights")
    check_weights_file(path)
    return digest_of_file(path)


if __name__ == "__main__":
    run_stage(main)
