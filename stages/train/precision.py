"""In which arithmetic to train."""

import torch

from lightline.config.training import Trainer
from lightline.errors import ParameterError


def choose_precision(settings: Trainer, device: torch.device) -> str:
    """Choose the precision to train in, by Lightning's name; `auto` becomes the quickest that loses no accuracy.

    Raises:
        ParameterError: the device does not compute in it, and Lightning would take another one in its place.
    """
    if settings.precision == "16-mixed" and device.type == "cpu":
        raise ParameterError(
            "trainer.precision = '16-mixed' needs a GPU, and this training would run on a CPU; bf16-mixed and 32-true "
            "run anywhere, and auto takes the one that is quickest here."
        )
    if settings.precision != "auto":
        return settings.precision
    if device.type == "cuda":
        # Asked of the device itself: torch also counts cards that only emulate bfloat16.
        return "bf16-mixed" if torch.cuda.get_device_capability(device) >= (8, 0) else "16-mixed"
    return "bf16-mixed" if device.type == "cpu" and _cpu_computes_in_bfloat16() else "32-true"


def matrix_dtype(precision: str) -> torch.dtype:
    """Choose in what to multiply matrices outside the network, where autocast does not reach.

    precision: Lightning's name. bfloat16 where the network computes in it, else float32: a processor without
    instructions for bfloat16 takes twenty times as long in it.
    """
    return torch.bfloat16 if precision == "bf16-mixed" else torch.float32


def autocast_dtype(precision: str) -> torch.dtype | None:
    """Choose what autocast computes in; None without it. precision: Lightning's name."""
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)


def _cpu_computes_in_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    # The rest of AVX512 matters too: without it, oneDNN has no kernels for these.
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
