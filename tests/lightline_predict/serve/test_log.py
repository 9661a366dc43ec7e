"""The log of answers, without a server."""

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lightline_predict.serve import request_log
from lightline_predict.serve.entries import Entry
from lightline_predict.serve.request_log import LogError, RequestLog
from tests.support.samples import random_pixels

HOUR = 3600.0


def entry(at: float, **changes: object) -> Entry:
    values = {"time": at, "pixels": random_pixels(9, 12, 3), "model": "f" * 64, "predicted": "cat", "accepted": True,
              "probabilities": np.float32([0.75, 0.25]), "embedding": None}  # fmt: skip
    return Entry(**values | changes)  # type: ignore[arg-type]


def rows(file: Path) -> int:
    return pq.read_table(file).num_rows


def test_hours_lie_apart_and_further_files_of_an_hour_are_numbered(tmp_path):
    told: dict[str, int] = {}
    for times in ((0, HOUR - 0.001), (1, HOUR, 24 * HOUR)):
        log = RequestLog(tmp_path)
        log._who = "who"  # as of one process; else each has its own
        log.start(lambda what, rows: told.update({what: told.get(what, 0) + rows}))
        for at in times:
            log.add(entry(at))
        log.close()
    files = {path.relative_to(tmp_path).as_posix(): rows(path) for path in tmp_path.rglob("*.parquet")}
    found = {name.replace("-who", ""): number for name, number in files.items()}
    assert found == {
        "1970-01-01/00.parquet": 2,
        "1970-01-01/00-001.parquet": 1,
        "1970-01-01/01.parquet": 1,
        "1970-01-02/00.parquet": 1,
    }
    assert told == {"written": 5}


def test_rows_are_written_while_it_goes_on(tmp_path):
    log = RequestLog(tmp_path, seconds=0.01)
    log.start(lambda what, rows: None)
    log.add(entry(0, embedding=np.float32([1, 2])))
    while not list(tmp_path.rglob("*.parquet")):
        time.sleep(0.01)
    (file,) = tmp_path.rglob("*.parquet")
    assert pq.read_table(file)["embedding"].to_pylist() == [[1, 2]]
    log.close()
    assert len(list(tmp_path.rglob("*.*"))) == 1


def test_what_cannot_wait_is_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "_HELD", 9 * 12 * 3)
    told = []
    log = RequestLog(tmp_path)
    log._told = lambda what, rows: told.append((what, rows))
    for _ in range(3):
        log.add(entry(0))
    assert told == [("dropped", 1)] * 2
    log.start(lambda what, rows: told.append((what, rows)))
    log.close()
    assert told[2:] == [("written", 1)]


def test_an_image_that_is_large_by_itself_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "_HELD", 9 * 12 * 3 - 1)
    told = []
    log = RequestLog(tmp_path)
    log._told = lambda what, rows: told.append((what, rows))
    for _ in range(2):
        log.add(entry(0))
    assert told == [("dropped", 1)]


def test_two_processes_of_one_number_write_files_of_their_own(tmp_path):
    names = []
    for _ in range(2):
        log = RequestLog(tmp_path)
        log.start(lambda what, rows: None)
        log.add(entry(0))
        log.close()
        names = sorted(path.name for path in tmp_path.rglob("*.parquet"))
    assert len(names) == 2
    assert not any("001" in name for name in names)


def test_a_disk_that_takes_nothing_more_loses_rows_and_no_answers(tmp_path):
    told = []
    log = RequestLog(tmp_path / "log")
    log.start(lambda what, rows: told.append((what, rows)))
    (tmp_path / "log" / "1970-01-01").touch()  # where the folder of the day is to be
    log.add(entry(0))
    log.close()
    assert told == [("dropped", 1)]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match=r"--log .*file cannot be written to"):
        RequestLog(tmp_path / "file")
