"""What is said of images that are much larger or smaller than what the model sees, and that of others nothing is."""

import numpy as np
import pytest

from stages.train import __main__ as stage
from stages.train.image_size import size_warning
from tests.support.tiny import tiny_params, tiny_task


def warning(sizes: list[tuple[int, int]], input_size: int) -> str | None:
    heights, widths = np.array(sizes).T
    return size_warning(heights, widths, input_size)


@pytest.mark.parametrize(
    ("size", "input_size"),
    [
        ((8, 8), 32),
        ((28, 28), 32),
        ((32, 32), 32),
        ((64, 64), 32),
        ((100, 100), 64),
        ((375, 500), 224),
        ((3000, 4000), 224),
    ],
)
def test_sizes_that_suit_are_no_matter(size, input_size):
    assert warning([size] * 3, input_size) is None


def test_images_much_larger_than_what_the_model_sees_are_told():
    assert warning([(100, 100), (90, 120), (100, 90)], 32) == (
        "the images have 100×100 pixels (median), and the model sees them at 32×32 (model.input_size): what is smaller "
        "than that is lost. recipe=fine_tune sees 224×224."
    )


def test_images_much_smaller_than_what_the_model_sees_are_told():
    assert "have 32×32 pixels (median), and are enlarged to 224×224" in str(warning([(32, 32)], 224))


@pytest.mark.parametrize(("input_size", "told"), [(72, True), (16, False)])
def test_the_train_stage_says_so_before_it_begins(tmp_path, monkeypatch, capsys, input_size, told):
    class BegunError(Exception):
        pass

    def begin(*_):
        raise BegunError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "training_folder", begin)
    params = tiny_params(model__input_size=input_size)
    tiny_task(params)
    with pytest.raises(BegunError):
        stage.main(params)
    assert ("warning: the images have 16×16 pixels (median)" in capsys.readouterr().out) is told
