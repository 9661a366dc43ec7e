"""How well, and how soon, is a network fine-tuned on 25, 100 and 1,000 images a class of CIFAR-10, at 128 pixels?

Ours and fastai as in `photos`, and so are the seconds. The images are enlarged to that size, and the 2,000 test images
are the same for all. The largest set takes fastai half an hour a seed: it is asked with one.
"""

from collections.abc import Sequence

from benchmarks.harness import Row
from benchmarks.photo_sets import enlarged_cifar
from benchmarks.photos import PhotoSet, Target, compared
from benchmarks.sources import weights_file

_SIZE = 128  # pixels


def run(quick: bool) -> list[Row]:
    """Return rows for each number of images a class; quick: for the smallest, with one seed."""
    weights_file()  # before images are written
    if quick:
        return compared([_photo_set(25, (1,), (1,))])
    sets = [_photo_set(25), _photo_set(100), _photo_set(1_000, (1,), (1, 3))]
    return compared(sets, Target("as accurate"))


def _photo_set(number: int, seeds: Sequence[int] = (1, 2, 3), epochs: Sequence[int] = (1, 3, 5)) -> PhotoSet:
    return PhotoSet(f"CIFAR-10 (JPEG), {number:,} a class", enlarged_cifar(number, _SIZE), _SIZE, seeds, epochs, None)
