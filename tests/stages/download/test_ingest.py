"""From a source to the dataset: all that cannot be used is listed at once, and memory does not grow with the images."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from lightline.data.dataset import Dataset
from lightline.errors import DataError, LightlineError
from lightline.sources.base import Refused, SourceImage
from lightline.sources.digits import Digits
from stages.download import decode_pool as checking
from stages.download.__main__ import main
from stages.download.ingest import download
from tests.support import ROOT
from tests.support.made_source import Fake, limits, png

pytestmark = pytest.mark.usefixtures("own_folder")

REPORTS = Path("reports/download")


def rejected() -> list[list[str]]:
    with (REPORTS / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_the_digits_become_a_dataset():
    counts = download(Digits(), limits())
    read = Dataset()
    assert len(read) == counts.summary()["images"] == 1797
    assert read.classes == list("0123456789")
    assert read.pixels(0).shape == (8, 8, 3)
    assert json.loads((REPORTS / "summary.json").read_text())["rejected"] == 0
    assert rejected() == []


def test_images_keep_the_order_of_the_source_through_the_threads():
    download(Fake([png(number) for number in range(500)]), limits())
    assert Dataset().column("position").tolist() == list(range(500))


def test_all_bad_images_are_listed_at_once_and_stop_the_stage():
    contents = [png(0), b"", png(1), b"text", png(2), png(3)[:60], png(4, size=200)]
    with pytest.raises(DataError) as error:
        download(Fake(contents, [Refused("notes.txt", "lies in no class folder")]), limits(max_rejected=4))
    assert "5 images cannot be used, and data.max_rejected = 4" in str(error.value)
    assert "0001.png: the file is empty" in str(error.value)
    assert "raise data.max_rejected" in str(error.value)
    assert [name for name, _ in rejected()] == ["0001.png", "0003.png", "0005.png", "0006.png", "notes.txt"]
    assert not Path("data/dataset").exists()


def test_a_few_bad_images_are_listed_and_left_out():
    counts = download(Fake([png(0), b"", png(1), png(2)]), limits(max_rejected=1))
    assert rejected() == [["0001.png", "the file is empty"]]
    assert counts.summary()["rejected"] == 1
    assert len(Dataset()) == 3


def test_a_file_that_cannot_be_read_is_listed_with_the_systems_reason(tmp_path):
    class Missing(Fake):
        def images(self):
            yield from super().images()
            yield SourceImage("gone.png", "a", (tmp_path / "gone.png").read_bytes, 1)

    download(Missing([png(0), png(1)]), limits(max_rejected=1))
    assert rejected() == [["gone.png", "cannot be read: No such file or directory"]]


def test_one_class_is_not_enough_and_the_message_says_what_was_rejected():
    with pytest.raises(DataError, match=r"at least two classes.*there is 'a'.*\n  0001.png: the file is empty"):
        download(Fake([png(0), b""]), limits(max_rejected=9))
    assert rejected() == [["0001.png", "the file is empty"]]


def test_nothing_usable_is_an_error_and_the_reasons_are_written():
    with pytest.raises(DataError, match="there is none"):
        download(Fake([b"", b"text"]), limits(max_rejected=9))
    assert len(rejected()) == 2


def test_names_with_commas_quotes_and_newlines_stay_readable_in_the_report():
    name = 'a,"b"\nc.png'
    download(Fake([png(0), png(1)], [Refused(name, "damaged")]), limits(max_rejected=1))
    assert rejected() == [[name, "damaged"]]


def test_two_runs_write_the_same_bytes():
    found = []
    for _ in range(2):
        download(Fake([png(number) for number in range(300)]), limits())
        files = [*Path("data/dataset").iterdir(), *REPORTS.iterdir()]
        found.append({file.name: file.read_bytes() for file in files})
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_no_more_images_are_read_ahead_than_the_bytes_allow(monkeypatch):
    monkeypatch.setattr(checking, "_BYTES_AHEAD", 10_000)
    monkeypatch.setattr(checking, "_BYTES_PER_GROUP", 1_000)
    given = 0

    def images():
        nonlocal given
        for given in range(1, 401):
            yield SourceImage(f"{given:04d}", "a", partial(bytes, png(0)), 1_000)

    assert max(given - taken for taken, _ in enumerate(checking.checked(images(), 10**6))) <= 12


def test_a_killed_process_ends_the_stage_with_a_message():
    class Deadly(Fake):
        def images(self):
            yield from super().images()
            yield SourceImage("last.png", "a", partial(_kill_own_process), 1)

    with pytest.raises(LightlineError, match="killed, most likely for want of memory"):
        download(Deadly([png(0), png(1)]), limits())
    assert not Path("data/dataset").exists()


def test_its_processes_end_with_a_stage_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", _SLOW], env={**os.environ, "PYTHONPATH": str(ROOT)}) as stage:
        file, end = Path("pid"), time.monotonic() + 30
        while not (file.exists() and file.read_text()) and time.monotonic() < end:
            time.sleep(0.02)
        stage.kill()
    worker = int(file.read_text())
    assert worker != stage.pid
    while psutil.pid_exists(worker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not psutil.pid_exists(worker)


def _kill_own_process() -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


_SLOW = """
import os, time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from stages.download.decode_pool import checked
from lightline.sources.base import SourceImage
def wait():
    Path("pid").write_text(str(os.getpid()))
    time.sleep(600)
list(checked(iter([SourceImage("a", "a", wait, 1)]), 10))
"""


def test_an_error_of_the_source_ends_the_stage_and_leaves_what_was_there():
    download(Fake([png(0), png(1)]), limits())
    before = Dataset().digest

    class Broken(Fake):
        def images(self):
            yield from super().images()
            raise DataError("the archive is damaged")

    with pytest.raises(DataError, match="the archive is damaged"):
        download(Broken([png(number) for number in range(100)]), limits())
    assert Dataset().digest == before


def test_a_source_that_changes_while_it_is_read_is_an_error():
    Path("data").mkdir()
    Path("data/source.json").write_text(json.dumps({"source": "digits", "sha256": "of another state"}))
    params: Any = SimpleNamespace(data=limits())
    with pytest.raises(DataError, match="has changed since the run began"):
        main(params)
    Path("data/source.json").write_text(json.dumps(Digits().identity()))
    main(params)
