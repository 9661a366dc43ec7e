"""What computes: the device, and how many threads of a CPU, by hardware.num_threads or as a fair share of its cores.

Sums that other numbers of threads divide are taken in another order: the number decides their last digits.
"""

import os

import torch

from lightline.config.params import Hardware
from lightline.errors import ParameterError
from lightline.runtime.cores import num_trainings
from lightline.runtime.ranks import local_rank
from lightline_predict.machine import num_cores

# What torch takes by itself: OMP_NUM_THREADS, else one for each core that it may use, not for each of its hyperthreads.
_TORCHS = torch.get_num_threads()
_IS_ASKED_FOR = "OMP_NUM_THREADS" in os.environ  # at the start: Lightning sets it later


def choose_device(hardware: Hardware) -> torch.device:
    """Choose the device that the parameters ask for: this process's GPU where there is one and it is not ruled out.

    Raises:
        ParameterError: hardware.devices names a GPU that is not there.
    """
    wanted, devices = hardware.accelerator, hardware.devices
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        number = devices[min(local_rank(), len(devices) - 1)] if isinstance(devices, list) else local_rank()
        if number >= (there := torch.cuda.device_count()):
            raise ParameterError(
                f"hardware.devices = {devices}: there is no GPU {number} here; {there} are counted from 0."
            )
        return torch.device("cuda", number)
    if wanted in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def use_share(hardware: Hardware, is_counted: bool = False) -> None:
    """Compute with a share of the cores from now on.

    is_counted: this process is one of those that `lightline.runtime.cores.counted_training` counts.
    """
    torch.set_num_threads(share(hardware, num_trainings() + (not is_counted)))


def share(hardware: Hardware, num_sharing: int, num_processes: int = 1) -> int:
    """Compute the threads for each process of one of `num_sharing` trainings; num_processes: that it has here."""
    if hardware.num_threads != "auto":
        return hardware.num_threads
    if _IS_ASKED_FOR:
        return _TORCHS
    return max(1, min(_TORCHS, num_cores()) // max(1, num_sharing) // num_processes)
