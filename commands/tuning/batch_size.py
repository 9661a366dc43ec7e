"""How many images fit the device at once."""

from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error

from commands.tuning.trial import prepare_trial, take_steps
from lightline.config.params import Params
from lightline.errors import DataError, LightlineError

_LARGEST = 8192
_STEPS = 2  # the second has the optimizer's state in memory too


def find_batch_size(params: Params) -> list[int]:
    """Try powers of two, and return those that fit, ascending; at most a tenth of the training images, or 8192.

    Raises:
        DataError: a tenth of the images is less than two.
        LightlineError: not even two images fit.
    """
    params, data, module = prepare_trial(params)
    most = min(_LARGEST, len(data.train) // 10)
    if most < 2:
        raise DataError(
            f"There are {len(data.train)} training images; a batch should be a tenth of them at most, and of two "
            "images at least. Set trainer.batch_size by hand, or add images."
        )
    fitting = []
    for size in [2**power for power in range(1, most.bit_length())]:
        data.batch_size = size
        try:
            take_steps(params, data, module, _STEPS, [])
        except RuntimeError as error:
            if not is_oom_error(error):
                raise
            garbage_collection_cuda()
            break
        fitting.append(size)
    if not fitting:
        raise LightlineError("Not even two images fit the device; a smaller model.input_size or model may.")
    return fitting
