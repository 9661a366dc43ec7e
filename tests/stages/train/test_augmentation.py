"""Each transform of training images by its definition, and every image on its own."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from lightline.config.training import Augment, ColorJitter, LowResolution, RandAugment, RandomResizedCrop
from stages.train.augmentation import Augmentation
from tests.support.samples import random_pixels

SIZE = 12
NUM_CLASSES = 5
ROWS = torch.arange(400, 656)
ASPECTS = torch.ones(2000)


def augmentation(seed: int = 7, **changes: Any) -> Augmentation:
    """Nothing switched on but the changes."""
    basis: dict[str, Any] = {
        "random_resized_crop": None,
        "store_size": None,
        "random_crop_padding": 0,
        "padding_mode": "reflect",
        "horizontal_flip": 0.0,
        "alternating_flip": False,
        "color_jitter": ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0),
        "random_rotation": 0.0,
        "rand_augment": RandAugment(num_ops=0, magnitude=9),
        "trivial_augment": False,
        "random_erasing": 0.0,
        "mixup_alpha": 0.0,
        "cutmix_alpha": 0.0,
        "low_resolution": [],
        "transforms": [],
    }
    return Augmentation(Augment(**(basis | changes)), seed, NUM_CLASSES, SIZE, ASPECTS)


def pixels(num: int = len(ROWS), size: int = SIZE) -> torch.Tensor:
    return torch.from_numpy(random_pixels(num, size, size, 3))


def inputs(num: int = len(ROWS), size: int = SIZE) -> torch.Tensor:
    return torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(0))


LABELS = torch.arange(len(ROWS)) % NUM_CLASSES


def test_with_nothing_on_nothing_changes():
    images, floats = pixels(), inputs()
    nothing = augmentation()
    assert torch.equal(nothing.on_pixels(images, ROWS, 0), images)
    changed, targets = nothing.on_inputs(floats, LABELS, ROWS, 0)
    assert torch.equal(changed, floats)
    assert torch.equal(targets, LABELS)


def all_crops(image: torch.Tensor, padding: int, mode: str) -> dict[bytes, tuple[int, int]]:
    """torch's padding of uint8 [size, size, 3], cut at every place: the pixels' bytes → where."""
    planes = image.permute(2, 0, 1).float()[None]
    padded = functional.pad(planes, (padding,) * 4, mode=mode)[0].permute(1, 2, 0).byte()
    size = len(image)
    places = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return {padded[top : top + size, left : left + size].numpy().tobytes(): (top, left) for top, left in places}


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
def test_crops_are_cut_from_torch_s_padding_each_at_its_own_place(mode):
    images = pixels()
    cropped = augmentation(random_crop_padding=2, padding_mode=mode).on_pixels(images, ROWS, 0)
    places = [all_crops(image, 2, mode)[crop.numpy().tobytes()] for image, crop in zip(images, cropped, strict=True)]
    counts = {place: places.count(place) for place in places}
    assert len(counts) == 25  # all places occur, and none is the favourite: about 10 images each
    assert max(counts.values()) < 30


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
def test_a_padding_larger_than_the_image_is_no_error(mode):
    images = pixels(50, 2)
    cropped = augmentation(random_crop_padding=7, padding_mode=mode).on_pixels(images, ROWS[:50], 0)
    assert cropped.shape == images.shape


@pytest.mark.parametrize(
    ("probability", "fewest", "most"), [(0.0, 0, 0), (1.0, 256, 256), (0.5, 100, 156), (0.1, 8, 50)]
)
def test_flips_mirror_left_and_right_as_often_as_asked(probability, fewest, most):
    images = pixels()
    flipped = augmentation(horizontal_flip=probability).on_pixels(images, ROWS, 0)
    mirrored = (flipped == images.flip(2)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert fewest <= int(mirrored.sum()) <= most


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


EVERYTHING = {"random_crop_padding": 2, "horizontal_flip": 0.5, "rand_augment": RandAugment(num_ops=2, magnitude=9)}
PHOTO = {
    "random_resized_crop": RandomResizedCrop(scale=[0.3, 1.0], ratio=[0.75, 1.3333]),
    "horizontal_flip": 0.5,
    "color_jitter": ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    "random_rotation": 10.0,
    "trivial_augment": True,
}


@pytest.mark.parametrize("settings", [EVERYTHING, PHOTO | {"trivial_augment": False}])
def test_an_image_becomes_the_same_in_whatever_batch_it_is(settings):
    everything = augmentation(**settings, random_erasing=0.5)
    images, floats, rows = pixels(24), inputs(24), ROWS[:24]
    whole = everything.on_pixels(images, rows, 5)
    erased, _ = everything.on_inputs(floats, LABELS[:24], rows, 5)
    for part in (torch.arange(23, -1, -1), torch.tensor([4]), torch.tensor([17, 3])):
        # A product's last digit may decide where a level is rounded to.
        difference = (everything.on_pixels(images[part], rows[part], 5).float() - whole[part].float()).abs()
        assert difference.max() <= (0 if settings is EVERYTHING else 1.5)
        assert difference.mean() < 0.01
        assert torch.equal(everything.on_inputs(floats[part], LABELS[part], rows[part], 5)[0], erased[part])


@pytest.mark.parametrize("settings", [EVERYTHING, PHOTO])
@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 8}, {"rows": ROWS[:64] + 1000}])
def test_another_epoch_seed_or_row_draws_anew(change, settings):
    images = pixels(64)
    origin = {"epoch": 0, "seed": 7, "rows": ROWS[:64]}

    def augmented(epoch, seed, rows):
        return augmentation(seed, **settings).on_pixels(images, rows, epoch)

    first, again, other = augmented(**origin), augmented(**origin), augmented(**(origin | change))
    assert torch.equal(first, again)
    assert (first != other).flatten(1).any(1).float().mean() > 0.9


def test_rand_augment_changes_equal_images_differently():
    image = pixels(1)
    images = image.expand(32, -1, -1, -1)
    changed = augmentation(rand_augment=RandAugment(num_ops=2, magnitude=15)).on_pixels(images, ROWS[:32], 0)
    assert changed.dtype == torch.uint8
    assert changed.shape == images.shape
    assert len({picture.numpy().tobytes() for picture in changed}) > 16


def test_augmentation_leaves_the_generators_of_others_alone():
    everything = augmentation(**EVERYTHING | PHOTO | {"random_crop_padding": 0}, random_erasing=0.5, mixup_alpha=0.2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    everything.on_pixels(pixels(4), ROWS[:4], 0)
    everything.on_inputs(inputs(4), LABELS[:4], ROWS[:4], 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_of_one_is_mixed_with_itself():
    image = inputs(1)
    mixed, targets = augmentation(mixup_alpha=0.2).on_inputs(image, LABELS[:1], ROWS[:1], 0)
    assert torch.allclose(mixed, image, atol=1e-6)
    assert targets.tolist() == [[1, 0, 0, 0, 0]]


def test_flips_alternate_from_epoch_to_epoch():
    images = pixels()
    epochs = [
        augmentation(horizontal_flip=0.5, alternating_flip=True).on_pixels(images, ROWS, epoch) for epoch in range(3)
    ]
    mirrored = images.flip(2)
    for image, mirror, *views in zip(images, mirrored, *epochs, strict=True):
        first, second, third = views
        assert torch.equal(first, third)
        assert {id_of(first), id_of(second)} == {id_of(image), id_of(mirror)}
    share = sum(torch.equal(view, image) for view, image in zip(epochs[0], images, strict=True)) / len(images)
    assert 0.4 < share < 0.6


def id_of(image: torch.Tensor) -> bytes:
    return image.contiguous().numpy().tobytes()


def test_the_first_epochs_are_smaller():
    floats = inputs()
    small = augmentation(low_resolution=[LowResolution(size=8, epochs=2), LowResolution(size=10, epochs=1)])
    for epoch, size in ((0, 8), (1, 8), (2, 10), (3, SIZE)):
        changed, _ = small.on_inputs(floats, LABELS, ROWS, epoch)
        assert changed.shape[2:] == (size, size)
    assert torch.equal(small.on_inputs(floats, LABELS, ROWS, 3)[0], floats)
    # A mean of neighbours: what is even stays so.
    even, _ = small.on_inputs(torch.full_like(floats, 3.0), LABELS, ROWS, 0)
    torch.testing.assert_close(even, torch.full_like(even, 3.0))
