"""Metrics of one's own, from extensions/."""

import pytest

from lightline.config.params import Evaluate
from lightline.errors import ParameterError
from stages.test.evaluate import evaluate
from tests.support.evaluations import CLASSES, SETTINGS, made_up, made_up_evaluation
from tests.support.own_code import write_extensions


def with_own(monkeypatch: pytest.MonkeyPatch, code: str, name: str = "mine") -> dict:
    """The metrics beside one of extensions/metrics/."""
    write_extensions(monkeypatch, metric=code)
    settings = Evaluate(**SETTINGS.model_dump() | {"metrics": [name]})
    return evaluate(*made_up(300, 0), made_up(300, 1), settings, CLASSES).metrics


@pytest.mark.usefixtures("own_folder")
def test_a_metric_of_ones_own_is_one_of_torchmetrics_or_a_function(monkeypatch):
    theirs = """
from torchmetrics.classification import MulticlassAccuracy

@metric("mine")
def mine(num_classes):
    return MulticlassAccuracy(num_classes, average="micro")
"""
    ours = """
@metric("mine")
def mine(num_classes):
    return lambda logits, labels: (logits.argmax(1) == labels).double().mean()
"""
    plain = made_up_evaluation().metrics
    for code in (theirs, ours):
        found = with_own(monkeypatch, code)
        assert found["mine"] == pytest.approx(plain["accuracy"])
        assert {name: value for name, value in found.items() if name != "mine"} == plain


@pytest.mark.usefixtures("own_folder")
def test_a_metric_that_is_no_number(monkeypatch):
    code = "@metric('mine')\ndef mine(num_classes):\n    return lambda logits, labels: VALUE\n"
    assert with_own(monkeypatch, code.replace("VALUE", "float('nan')"))["mine"] is None
    for value in ("logits", "'x'", "None"):
        with pytest.raises(
            ParameterError, match=r"evaluate.metrics = 'mine' gives (Tensor|str|NoneType); it must give a number"
        ):
            with_own(monkeypatch, code.replace("VALUE", value))


@pytest.mark.usefixtures("own_folder")
def test_a_metric_called_as_one_of_ours(monkeypatch):
    code = "@metric('ece')\ndef mine(num_classes):\n    return lambda logits, labels: 1\n"
    with pytest.raises(ParameterError, match=r"evaluate\.metrics = 'ece' is the name of a built-in metric"):
        with_own(monkeypatch, code, "ece")
