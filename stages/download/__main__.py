"""Bring the images into data/dataset/, each decoded once; list what cannot be used in reports/download/."""

import json
from pathlib import Path

from lightline.config.params import Params
from lightline.data.attributes import write_attributes
from lightline.errors import DataError
from lightline.runtime.stage import run_stage
from lightline.sources import open_source, with_corrections
from lightline.sources.base import DescribesImages
from stages.download.ingest import download


def main(params: Params) -> None:
    source = open_source(params.data)
    done = download(source, params.data)
    write_attributes(*(source.attributes() if isinstance(source, DescribesImages) else ((), {})))
    _check_recorded(params)
    for warning in done.warnings():
        print(f"warning: {warning}")
    counts = done.summary()
    print(f"{counts['images']} images in {counts['classes']} classes, {counts['rejected']} rejected")
    if deep := counts["16_bit_images"]:
        print(f"{deep} of them with 16 bits a channel, read as {counts['bit_depth']} bits in use (data.bit_depth)")


def _check_recorded(params: Params) -> None:
    """Check that what was read is what data/source.json stands for: a source can change while it is read."""
    source = Path("data/source.json")
    now = with_corrections(open_source(params.data).identity(), params.data)
    if source.exists() and now != json.loads(source.read_text(encoding="utf-8")):
        raise DataError("The source has changed since the run began. Run the same command again when it is at rest.")


if __name__ == "__main__":
    run_stage(main)
