"""What of the questions is no measurement: their names, what they say without data or peers, the report's form."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from benchmarks.__main__ import questions
from benchmarks.models import NETWORKS, page, summary
from benchmarks.peer_environment import PEERS_VARIABLE, MissingPeersError, peers_python
from benchmarks.photos import Result, Target, rows_of
from benchmarks.report import table
from benchmarks.sources import CIFAR_VARIABLE, PHOTOS_VARIABLE, WEIGHTS_VARIABLE, MissingDataError

_FOUND = {
    "size": 224, "parameters": 11_200_000, "first_loss": 2.303, "last_loss": 1.9, "export_seconds": 9.0,
    "bytes": 44_700_000, "gate": 2e-6, "openvino": 3e-5, "int8": 0.75, "int8_bytes": 11_300_000, "openvino_int8": 1.0,
}  # fmt: skip
_WHERE = {"date": "2026-11-29", "commit": "abc1234", "machine": "2 cores"}


def test_every_question_asks_and_can_be_run():
    assert {"field", "models", "photos"} <= set(questions())
    for name in questions():
        module = import_module(f"benchmarks.{name}")
        assert (module.__doc__ or "").strip().partition("\n\n")[0].endswith("?"), name
        assert list(inspect.signature(module.run).parameters) == ["quick"], name


@pytest.mark.parametrize("name", ["batch_answers", "field", "photos", "photos_cifar"])
def test_without_data_a_question_says_what_it_needs(monkeypatch, name):
    for variable in (CIFAR_VARIABLE, PHOTOS_VARIABLE, WEIGHTS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MissingDataError, match=r"needs .*make bench"):
        import_module(f"benchmarks.{name}").run(True)


def test_a_wrong_question_is_told_those_there_are():
    command = (sys.executable, "-m", "benchmarks", "fields")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no question 'fields'" in done.stderr
    assert "field, " in done.stderr


def test_where_the_peers_cannot_be_installed_it_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv(PEERS_VARIABLE, raising=False)
    for variable, value in (("XDG_CACHE_HOME", str(tmp_path)), ("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "")):
        monkeypatch.setenv(variable, value)
    with pytest.raises(MissingPeersError, match=r"not there: .*fastai.*LIGHTLINE_BENCH_PEERS may name a Python"):
        peers_python()
    assert not list(tmp_path.rglob("ready"))


def test_a_python_that_is_named_runs_the_peers(monkeypatch):
    peers_python.cache_clear()
    monkeypatch.setenv(PEERS_VARIABLE, sys.executable)
    assert peers_python().samefile(sys.executable)
    peers_python.cache_clear()


def test_photos_are_set_beside_the_best_of_the_other_and_timed_by_what_is_like_them():
    results = {
        "linear_probe": ([0.95, 0.96], [5.0, 6.0]),
        "fine_tune": ([0.93, 0.93], [10.0, 10.0]),
        "fastai 2, frozen epoch": ([0.94, 0.94], [26.0, 26.0]),
        "fastai 2, 1 epochs after it": ([0.92, 0.92], [60.0, 60.0]),
    }
    found = {what: Result(what, *values) for what, values in results.items()}
    probe, tuned, *others = rows_of("bees", found, None, Target("sooner", 4))
    assert (probe.ours, probe.reference, probe.met) == ("0.9550 (0.950 to 0.960), 5.5 s", "0.9400, 26.0 s", True)
    assert (tuned.reference, tuned.ratio, tuned.met) == ("0.9400, 60.0 s", 6.0, False)
    assert [row.what for row in others] == [f"bees: {what}" for what in results if what.startswith("fastai")]


def test_photos_without_a_recipe_or_the_others_say_so():
    found = {"fine_tune": Result("fine_tune", [0.9], [10.0])}
    probe, tuned = rows_of("bees", found, "not there: no network", Target("as accurate"))
    assert (probe.ours, probe.met) == ("not there", None)
    assert (tuned.ours, tuned.reference) == ("0.9000, 10.0 s", "not there: no network")


def test_the_page_of_networks_has_what_failed_with_its_sentence_and_what_was_not_run():
    failed = {"size": 224, "parameters": 11_200_000, "failed": "two batches: the losses are [nan, nan]"}
    no_gain = {key: value for key, value in _FOUND.items() if "int8" not in key} | {"int8_failed": "Nothing to gain."}
    kept = {name: _WHERE | answer for name, answer in
            (("resnet18", _FOUND), ("swin_t", failed), ("timm/levit_128s", no_gain))}  # fmt: skip
    text = page(kept)
    assert "| resnet18 | residual | 224 | 11.2 M | 2.303, 1.90 | 9 s, 44.7 MB | 2e-06 | 3e-05 | 0.75, 11.3 MB" in text
    assert "- swin_t: two batches: the losses are [nan, nan]\n- timm/levit_128s: Nothing to gain." in text
    assert text.count("**no**") == 6 + 2
    assert "Not run yet: alexnet, " in text
    assert "2026-11-29 at abc1234, on 2 cores" in text


def test_the_page_of_all_networks_says_nothing_of_failures():
    text = page(dict.fromkeys(NETWORKS, _WHERE | _FOUND))
    assert len(NETWORKS) == 40
    assert text.count("\n| ") == 40 + 2
    assert "Not run yet" not in text
    assert "did not come through" not in text


def test_networks_are_counted_by_step():
    rows = summary({"resnet18": _FOUND, "swin_t": {"size": 224}, "vit_b_32": _FOUND | {"openvino": 1e-3}})
    assert [row.ours for row in rows] == ["2 of 3"] * 3 + ["1 of 3"] + ["2 of 3"] * 2
    assert table(rows).count("\n") == 1 + len(rows)
