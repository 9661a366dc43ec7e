"""Whether a model sees its images at a size that suits them."""

import numpy as np

_MUCH_SMALLER, _MUCH_LARGER = 2, 4  # times, above which the size of the input is worth a word
_ENOUGH = 128  # pixels a side, at which a network sees what photos show, however large they are


def size_warning(heights: np.ndarray, widths: np.ndarray, input_size: int) -> str | None:
    """Say where most images are much larger or smaller than what the network is given of them, or give None.

    heights, widths: of the training images, pixels.
    """
    height, width = int(np.median(heights)), int(np.median(widths))
    if input_size < _ENOUGH and min(height, width) > _MUCH_SMALLER * input_size:
        return (
            f"the images have {height}×{width} pixels (median), and the model sees them at {input_size}×{input_size} "
            "(model.input_size): what is smaller than that is lost. recipe=fine_tune sees 224×224."
        )
    if input_size > _MUCH_LARGER * max(height, width):
        return (
            f"the images have {height}×{width} pixels (median), and are enlarged to {input_size}×{input_size} "
            "(model.input_size), which takes time and adds nothing to see; a smaller size may do."
        )
    return None
