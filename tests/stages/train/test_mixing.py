"""Erasing, mixup and cutmix."""

import torch
from torch.nn import functional

from tests.support.augmented import LABELS, NUM_CLASSES, ROWS, SIZE, augmentation, inputs


def test_erased_boxes_have_the_area_and_proportions_of_the_paper():
    size = 64
    whole = torch.ones(len(ROWS), 3, size, size)
    erased, targets = augmentation(random_erasing=1.0).on_inputs(whole, LABELS, ROWS, 0)
    assert torch.equal(targets, LABELS)
    gone = erased == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(gone[:, 0], gone[:, 2])
    heights, widths = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    areas = gone[:, 0].flatten(1).sum(1)
    assert torch.equal(areas, heights * widths)  # one whole box, inside the image
    share = areas / size**2
    assert share.min() > 0.01  # 2 to 33% but for whole pixels
    assert share.max() < 0.36
    assert 0.14 < share.mean() < 0.20
    ratios = heights / widths
    assert ratios.min() > 0.25
    assert ratios.max() < 4
    assert len({(int(height), int(width)) for height, width in zip(heights, widths, strict=True)}) > 150


def test_erasing_happens_as_often_as_asked_and_leaves_the_other_images():
    whole = inputs()
    erased, _ = augmentation(random_erasing=0.25).on_inputs(whole, LABELS, ROWS, 0)
    changed = (erased != whole).flatten(1).any(1)
    assert 40 < int(changed.sum()) < 90
    assert torch.equal(erased[~changed], whole[~changed])


def test_mixup_mixes_pixels_and_targets_in_the_same_proportions():
    # Each image has the one-hot code of its class as its pixels: mixed pixels are then the mixed targets.
    codes = functional.one_hot(LABELS, NUM_CLASSES).float()
    images = codes[:, :3, None, None].expand(-1, -1, SIZE, SIZE).contiguous()
    mixed, targets = augmentation(mixup_alpha=0.4).on_inputs(images, LABELS, ROWS, 0)
    assert targets.dtype == torch.float32
    assert torch.allclose(targets.sum(1), torch.ones(len(ROWS)))
    assert torch.allclose(mixed[:, :, 0, 0], targets[:, :3], atol=1e-6)
    assert torch.equal(mixed, mixed[:, :, :1, :1].expand_as(mixed))
    assert len(targets.max(1).values.unique()) > 100  # every image its own proportion


def test_cutmix_targets_are_the_shares_of_the_pixels():
    values = torch.arange(len(ROWS), dtype=torch.float32)
    images = values[:, None, None, None].expand(-1, 3, 32, 32).contiguous()
    mixed, targets = augmentation(cutmix_alpha=1.0).on_inputs(images, LABELS, ROWS, 0)
    partners = values.roll(1)
    own = mixed[:, 0] == values[:, None, None]
    assert (own | (mixed[:, 0] == partners[:, None, None])).all()
    kept = own.float().mean((1, 2))
    expected = functional.one_hot(LABELS, NUM_CLASSES) * kept[:, None]
    expected = expected + functional.one_hot(LABELS.roll(1), NUM_CLASSES) * (1 - kept[:, None])
    assert torch.allclose(targets, expected, atol=1e-6)
    assert 0.5 < kept.mean() < 0.85  # half the area is asked for, and edges cut boxes off
    other = ~own
    boxes = other.any(2).sum(1) * other.any(1).sum(1)
    assert torch.equal(boxes, other.flatten(1).sum(1))


def test_with_both_a_batch_takes_mixup_or_cutmix():
    mixing = augmentation(mixup_alpha=0.5, cutmix_alpha=0.5)
    values = torch.arange(8, dtype=torch.float32)[:, None, None, None].expand(-1, 3, SIZE, SIZE).contiguous()
    kinds = set()
    for epoch in range(20):
        mixed, _ = mixing.on_inputs(values, LABELS[:8], ROWS[:8], epoch)
        kinds.add("cutmix" if torch.equal(mixed, mixed.round()) else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_a_batch_of_one_is_mixed_with_itself():
    image = inputs(1)
    mixed, targets = augmentation(mixup_alpha=0.2).on_inputs(image, LABELS[:1], ROWS[:1], 0)
    assert torch.allclose(mixed, image, atol=1e-6)
    assert targets.tolist() == [[1, 0, 0, 0, 0]]
