"""The latency table: what is timed, on which images, and what is written of it; never how long it took."""

import csv
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from lightline.data.dataset import Dataset
from lightline.model_file import latency
from lightline.model_file.latency import HEADER, Latency, common_images, measure_latency, processor
from lightline.model_file.pixel_classifier import PixelClassifier
from tests.support.samples import random_pixels, save_dataset

SIZES = [(24, 20), (40, 30), (24, 20), (20, 24), (24, 20), (40, 30)]
EVERY = np.arange(len(SIZES))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    pictures = [random_pixels(*size, 3, seed=number) for number, size in enumerate(SIZES)]
    return save_dataset(tmp_path_factory.mktemp("latency") / "dataset", pictures)


@pytest.fixture(scope="module")
def measured(exported, dataset) -> Latency:
    checkpoint, path = exported("cnn", crop_pct=0.9)
    reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
    return measure_latency(reference, {"fp32": path, "again": path}, dataset, EVERY)


def test_every_runtime_is_timed_at_every_batch(measured):
    assert [row[:2] for row in measured.rows] == [
        (name, batch) for batch in (1, 8, 64) for name in ("torch eager", "onnxruntime fp32", "onnxruntime again")
    ]
    for _, _, threads, runs, p50, p95 in measured.rows:
        assert threads == torch.get_num_threads()
        assert runs >= 3
        assert 0 < p50 <= p95


def test_the_images_are_those_of_the_commonest_size(dataset, measured):
    assert np.array_equal(common_images(dataset, EVERY, 64), [dataset.pixels(row) for row in (0, 2, 4)])
    assert np.array_equal(common_images(dataset, EVERY, 2), [dataset.pixels(row) for row in (0, 2)])
    assert measured.size == (24, 20)


def test_batches_too_large_for_memory_are_left_out(exported, dataset, monkeypatch):
    checkpoint, path = exported("cnn", crop_pct=0.9)
    reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
    monkeypatch.setattr(latency, "_LARGEST", 8 * 24 * 20 * 3)
    assert {row[1] for row in measure_latency(reference, {"fp32": path}, dataset, EVERY).rows} == {
        1,
        8,
    }
    monkeypatch.setattr(latency, "_LARGEST", 1)
    assert len(common_images(dataset, EVERY, 64)) == 1
    assert {row[1] for row in measure_latency(reference, {"fp32": path}, dataset, EVERY).rows} == {1}


def test_batches_that_would_take_long_are_left_out(exported, dataset, monkeypatch, capsys):
    checkpoint, path = exported("cnn", crop_pct=0.9)
    reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
    monkeypatch.setattr(latency, "_LONGEST", 1e-9)
    assert {row[1] for row in measure_latency(reference, {"fp32": path}, dataset, EVERY).rows} == {1}
    assert "measuring how long answers take (export.latency" in capsys.readouterr().out


def test_runtimes_take_turns_on_the_same_pixels_and_the_first_run_does_not_count(monkeypatch):
    monkeypatch.setattr(latency, "_SLICE", 0.0)
    pixels, calls = random_pixels(2, 4, 4, 3), []
    answers = {name: lambda given, name=name: calls.append((name, given is pixels)) for name in "ab"}
    times = latency._take_turns(answers, pixels)
    assert calls == [("a", True), ("b", True)] * 4
    assert [len(times[name]) for name in "ab"] == [3, 3]


def test_the_table_and_the_card_hold_what_was_measured(measured, tmp_path):
    measured.write(tmp_path / "latency.csv")
    with (tmp_path / "latency.csv").open() as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == HEADER
    assert [tuple(row) for row in rows] == [tuple(map(str, row)) for row in measured.rows]
    text = measured.markdown()
    assert "24×20" in text
    assert processor() in text
    assert "differ from one equal run to the next" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    for line, (name, batch, _, runs, p50, p95) in zip(lines, measured.rows, strict=True):
        assert line == f"| {name} | {batch} | {p50:.2f} | {p95:.2f} | {runs} |"


def test_a_runtime_is_sooner_where_its_median_is_lower_at_any_batch():
    table = Latency(
        [("a", 1, 2, 9, 3.0, 4.0), ("b", 1, 2, 9, 2.0, 9.0), ("a", 8, 2, 9, 5.0, 6.0), ("b", 8, 2, 9, 5.0, 6.0)]
    )
    assert table.is_sooner("b", "a")
    assert not table.is_sooner("a", "b")


def test_where_nothing_was_measured_the_table_is_a_header_and_the_card_says_so(tmp_path: Path):
    Latency([]).write(tmp_path / "latency.csv")
    assert (tmp_path / "latency.csv").read_text() == "runtime,batch,threads,runs,p50_ms,p95_ms\n"
    assert Latency([]).markdown() == "Not measured: `export.latency` was false."


CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="only Linux lists its processors there")
def test_the_machine_is_the_processor_and_what_makes_int8_fast():
    name, _, flags = processor().partition(" (")
    content = CPUINFO.read_text()
    assert f": {name}\n" in content or name == platform.machine()
    assert ("avx512_vnni" in content.split()) == ("avx512_vnni" in flags)


def test_nothing_tells_whose_machine_it_is():
    assert processor()
    assert platform.node() not in processor().split()
