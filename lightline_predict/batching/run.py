"""The command `lightline-predict batch`, from its arguments to its last line."""

import hashlib
import stat
import sys
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from lightline_predict import __version__
from lightline_predict.batching.answering import Answering
from lightline_predict.batching.inputs import Input, open_input
from lightline_predict.batching.items import InputError
from lightline_predict.batching.parts import OutputError, Parts, schema_of
from lightline_predict.batching.places import LocalPlace, open_place
from lightline_predict.batching.progress import Progress
from lightline_predict.classifier import Classifier
from lightline_predict.machine import num_cores
from lightline_predict.modes import mode_of, why_not

_KEEP_SECONDS, _KEEP_ROWS = 10, 8192  # of work, which a kill costs at most


def run(options: Namespace) -> int:
    """Write OUT; gives 1 where an image could not be read, else 0.

    Raises:
        LightlineError: the model file, the input or OUT cannot be used.
    """
    _check_output(options.output)
    model = Classifier(options.model, num_threads=1)  # in the thread that asks; there is one of those a core
    if options.embedding and "embedding" not in model.output_names:
        raise InputError(f"{options.model} gives no embedding; export.embedding=true writes a model file that does.")
    place = open_place(options.input)
    parts = _parts(options, model)
    if isinstance(place, LocalPlace):
        if place.path.absolute() == options.output.absolute():
            raise OutputError(f"{options.output} is what is read; name another file to write.")
        place = replace(place, without=(options.output.resolve(), parts.folder.resolve()))
    with open_input(place, options.column, options.id_column) as source, parts.locked():
        parts.find()
        _answer(source, parts, Answering(model, options.threads or num_cores(), options.batch_size))
        if not (num_rows := parts.num_rows):
            raise InputError(f"There is no file in {place}; hidden ones are left out.")
        num_errors = parts.finish()
    print(f"{options.output}: {num_rows:,} images")
    if num_errors:
        print(f"{num_errors:,} of {num_rows:,} could not be read; `error` says why.", file=sys.stderr)
    return 1 if num_errors else 0


def _check_output(out: Path) -> None:
    if out.suffix != ".parquet":
        raise OutputError(f"{out} is to be a Parquet file; its name ends in .parquet.")
    if not stat.S_ISDIR(mode_of(out.parent)):
        raise OutputError(f"{out} cannot be written: the folder {out.parent} {why_not(out.parent)}.")
    if stat.S_ISDIR(mode_of(out)):
        raise OutputError(f"{out} is a folder; name a file to write.")


def _parts(options: Namespace, model: Classifier) -> Parts:
    with options.model.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    described = {
        "fingerprint": model.metadata.get("fingerprint", ""),
        "model_sha256": sha256,
        "lightline_predict": __version__,
    }
    made_with = {
        "model": sha256,
        "version of lightline-predict": __version__,
        "--batch-size": str(options.batch_size),
        "--column or --id-column": f"{options.column} {options.id_column}",
        "--embedding": str(options.embedding),
    }
    return Parts(options.output, schema_of(model.classes, options.embedding, described), made_with)


def _answer(source: Input, parts: Parts, answering: Answering) -> None:
    """Write the parts that are not there yet."""
    progress = Progress(None, parts.num_rows)
    if progress.is_shown:
        progress = Progress(source.count(), parts.num_rows)
    items = source.items()  # behind the count, which may read the same file
    parts.skip(items)
    if parts.num_rows:
        print(f"{parts.num_rows:,} images were answered before; going on after them.", file=sys.stderr)
    kept = time.monotonic()
    try:
        for chunk, rows in answering.answer(answering.chunks(items, source.is_stream)):
            parts.add(chunk, rows)
            progress.add(len(rows), source.share())
            if time.monotonic() - kept > _KEEP_SECONDS or parts.num_pending >= _KEEP_ROWS:
                parts.write()
                kept = time.monotonic()
    except (KeyboardInterrupt, InputError):
        progress.end()
        parts.write()
        if parts.num_rows:
            print(f"{parts.num_rows:,} answers are kept; the same command goes on after them.", file=sys.stderr)
        raise
    progress.end()
    parts.write()
