"""Street View House Numbers (Y. Netzer et al., 2011), the cropped digits: MATLAB files."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from lightline.sources.base import SourceImage
from lightline_predict.images import encode


def classes(files: dict[str, Path]) -> Sequence[str]:
    """Name the digits."""
    return tuple("0123456789")


def images(files: dict[str, Path], names: Sequence[str]) -> Iterator[SourceImage]:
    """Yield all images, train first."""
    for split in ("train", "test"):
        try:
            content = loadmat(files[f"{split}_32x32.mat"])
        except MatReadError as error:
            raise ValueError(str(error)) from None
        # Pixels come as [height, width, channels, images], and the digit 0 as the label 10.
        pixels, labels = content["X"].transpose(3, 0, 1, 2), content["y"].ravel() % 10
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            yield SourceImage(f"{split}-{number:05d}", names[int(label)], partial(encode, image), image.nbytes, split)
