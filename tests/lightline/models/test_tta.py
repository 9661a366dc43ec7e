"""Answers as means over several views."""

import numpy as np
import pytest
import torch
from torch import nn

from lightline.models.tta import TTANetwork, with_tta
from lightline_predict.classifier import Classifier
from tests.support.samples import model_settings, random_pixels


class Corners(nn.Module):
    """Logits that tell where a view came from: the values of its four corners."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([images[:, 0, y, x] for y in (0, -1) for x in (0, -1)], 1)


IMAGE = torch.arange(25.0).view(1, 1, 5, 5)


def test_without_it_the_network_answers_itself():
    network = Corners()
    assert with_tta(network, model_settings()) is network
    assert not network.training


def test_the_mirror_image_counts_as_much():
    answer = with_tta(Corners(), model_settings(test_time_augmentation="mirror"))(IMAGE)
    assert answer.tolist() == [[2.0, 2.0, 22.0, 22.0]]  # 0 and 4 above, 20 and 24 below, from both sides


def test_shifted_views_count_half():
    several = TTANetwork(Corners(), shift=True)
    # Up and to the left, the padding's mirrored pixels come in: 6 in the corner, 8 beside 3 columns, and so on.
    padded = nn.functional.pad(IMAGE, (1, 1, 1, 1), mode="reflect")
    views = [IMAGE, padded[..., :5, :5], padded[..., 2:, 2:]]
    means = [(Corners()(view) + Corners()(view.flip(-1))) / 2 for view in views]
    torch.testing.assert_close(several(IMAGE), 0.5 * means[0] + 0.25 * means[1] + 0.25 * means[2])


@pytest.mark.parametrize("name", ["cnn", "airbench"])
def test_the_model_file_answers_with_the_same_mean(name, exported):
    blocks = {"widths": [8, 8, 8], "depths": [2, 3, 2]} if name == "airbench" else {}
    checkpoint, path = exported(name, **blocks, test_time_augmentation="mirror_and_shift")
    network = checkpoint.network()
    assert isinstance(network, TTANetwork)
    pixels = random_pixels(3, 16, 16, 3)
    mean, std = (np.array(getattr(checkpoint.preprocessing, key)) * 255 for key in ("mean", "std"))
    inputs = torch.from_numpy(((pixels - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(inputs).numpy()
    np.testing.assert_allclose(Classifier(path).predict(pixels)[0], expected, rtol=1e-3, atol=1e-5)
