"""Tables of images in set/, and what the source makes of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from lightline.config.data import TableSource
from lightline.sources import open_source
from lightline.sources.base import SourceImage
from lightline.sources.table import Table

IMAGES = ["images/1.png", "images/2.png", "images/3.png"]


def source(path="set/table.csv", **changes) -> Table:
    values = {
        "source": "table",
        "path": str(path),
        "path_column": "path",
        "label_column": "label",
        "split_column": None,
        "group_column": None,
        "max_rejected": 0,
        "max_pixels": 1000,
        "bit_depth": "auto",
        "corrections": None,
    }
    table = open_source(TableSource(**values | changes))
    assert isinstance(table, Table)
    return table


def listed(table: Table) -> list[tuple]:
    return [
        (image.id, image.class_name, image.split, image.group)
        for image in table.images()
        if isinstance(image, SourceImage)
    ]


def write_table(path, columns: dict) -> None:
    write = csv.write_csv if Path(path).suffix == ".csv" else pq.write_table
    write(pa.table(columns), path)
