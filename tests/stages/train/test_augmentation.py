"""Each transform of training images by its definition, and every image on its own."""

import pytest
import torch
from torch.nn import functional

from lightline.config.training import ColorJitter, LowResolution, RandAugment, RandomResizedCrop
from tests.support.augmented import LABELS, ROWS, SIZE, augmentation, inputs, pixels


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


def test_what_is_never_mirrored_is_not_in_turns_either():
    images = pixels()
    for epoch in range(2):
        assert torch.equal(
            augmentation(random_crop_padding=0, alternating_flip=True).on_pixels(images, ROWS, epoch), images
        )
        moved = augmentation(random_crop_padding=1, alternating_flip=True).on_pixels(images, ROWS, epoch)
        assert torch.equal(moved, augmentation(random_crop_padding=1).on_pixels(images, ROWS, epoch))


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
