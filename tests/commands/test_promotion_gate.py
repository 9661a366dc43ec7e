"""What speaks against a challenger, however accurate: its calibration, time, size, and parts where it is worse."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from commands.promoting.comparison import Comparison, Contender, TestSet
from commands.promoting.gate import HOLD, PROMOTE, REJECT, Judgement, judge
from lightline.config.load import load_params
from lightline_predict.classifier import Classifier
from tests.support.model_files import write_model

IMAGES, CLASSES = 600, ["a", "b"]
Judge = Callable[..., Judgement]


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    """Judges answers of which only these are wrong: positions of images. settings: of promote."""
    contenders = []
    for name in ("champion", "challenger"):
        path = write_model(tmp_path / f"{name}.onnx", CLASSES)
        contenders.append(Contender(name, name, path, name, Classifier(path)))
    params, labels = load_params(), np.arange(IMAGES) % 2

    def answers(wrong: range, confidence: float) -> np.ndarray:
        sure = np.full(IMAGES, confidence)
        sure[wrong] = 1 - confidence
        return np.where(np.arange(2) == labels[:, None], sure[:, None], 1 - sure[:, None])

    def give(champion: range, challenger: range, confidence: float = 0.97, **settings: object) -> Judgement:
        compared = Comparison(
            *contenders,
            TestSet(IMAGES, 0, "", []),
            CLASSES,
            labels,
            (answers(champion, 0.97), answers(challenger, confidence)),
            {"light": ["dark" if row < 60 else "bright" for row in range(IMAGES)]},
            (0.001, settings.pop("latency", 0.001)),  # type: ignore[arg-type]
        )
        with (tmp_path / "challenger.onnx").open("ab") as file:
            file.write(bytes(settings.pop("more_bytes", 0)))  # type: ignore[call-overload]
        return judge(compared, params.promote.model_copy(update=settings), params.evaluate, 1)

    return give


def test_what_is_better_everywhere_is_promoted_and_an_equal_is_held(judged: Judge):
    assert judged(range(100, 130), range(100, 110)).verdict == PROMOTE
    assert judged(range(100, 130), range(100, 130)).verdict == HOLD


@pytest.mark.parametrize(
    ("challenger", "limit", "told"),
    [
        ({"confidence": 0.8}, "max_ece", "Its calibration error is 0.192, above promote.max_ece = 0.1."),
        ({"latency": 0.0021}, "max_latency_ratio", "It takes 2.10 times as long as the champion, above promote.max_l"),
        ({"more_bytes": 100_000}, "max_size_ratio", "times as many bytes as the champion, above promote.max_size_rat"),
    ],
)
def test_a_limit_rejects_what_is_more_accurate_and_null_is_no_limit(judged: Judge, challenger, limit, told):
    better = (range(100, 160), range(100, 105))
    against = judged(*better, **challenger)
    assert against.verdict == REJECT
    assert any(told in reason for reason in against.reasons), against.reasons
    without = judged(*better, **{**challenger, limit: None, "more_bytes": 0})
    assert not any("promote.max_" in reason for reason in without.reasons)


def test_a_slice_where_it_is_worse_rejects_what_is_better_on_the_whole(judged: Judge):
    against = judged(range(100, 180), range(14))
    assert against.verdict == REJECT
    assert against.reasons[0].startswith("It is worse on light = dark: 0.767 against 1.000 of 60 images (p = 0.00024")
    assert against.parts[0].p_worse == pytest.approx(0.5**14 * 4)  # of four parts, Holm's first step


def test_a_slice_that_is_worse_by_chance_is_not_held_against_it(judged: Judge):
    """One test alone would be sure of 5 images (p = 0.03); of four, Holm is not."""
    found = judged(range(100, 180), range(5))
    assert found.parts[0].p_worse == pytest.approx(0.5**5 * 4)
    assert found.verdict == PROMOTE


def test_a_difference_of_losses_that_is_sure_but_tiny_is_none(judged: Judge):
    wrong = range(100, 130)
    assert judged(wrong, wrong, 0.9702).scores[2].lower > 0
    assert judged(wrong, wrong, 0.9702).verdict == HOLD
    against = judged(wrong, wrong, 0.99)
    assert against.verdict == REJECT
    assert against.reasons[0].startswith("Its log-loss is higher: 0.2")


def test_within_the_margin_an_equal_is_promoted(judged: Judge):
    same = (range(100, 130), range(102, 132))
    assert judged(*same).verdict == HOLD
    found = judged(*same, margin=0.03)
    assert found.verdict == PROMOTE
    assert "less than 0.03 (promote.margin) below the champion's accuracy" in found.reasons[0]
    assert "that two equals differ by less than promote.margin about" in found.sight
    assert judged(*same, margin=0.005).verdict == HOLD
