"""Random numbers that are a function of (seed, epoch, row): no state, so that resumed training draws what uninterrupted
training would have drawn, on any device and in any order.

The mixing function is the finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014), on int64, whose products wrap as uint64's do.
"""

import torch

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB
_UINT64 = 2**64 - 1


def uniform(seed: int, epoch: int, rows: torch.Tensor, num: int) -> torch.Tensor:
    """Draw float32 in [0, 1), [len(rows), num], on the device of `rows` (int64); each row draws its own."""
    stream = _mix(step_seed(seed, epoch) + rows * _GOLDEN)
    numbers = _mix(stream[:, None] + torch.arange(1, num + 1, device=rows.device) * _GOLDEN)
    return _shift(numbers, 40).float() * 2**-24


def permutation(seed: int, epoch: int, num_rows: int) -> torch.Tensor:
    """Draw an order of the rows, another one each epoch: int64 [num_rows]."""
    generator = torch.Generator().manual_seed(step_seed(seed, epoch))
    return torch.randperm(num_rows, generator=generator)


def step_seed(seed: int, step: int) -> int:
    """Make a seed for generators that have state (dropout's, say), another one each step; below 2⁶³."""
    return _mix_int(_mix_int(seed * _GOLDEN) + step * _GOLDEN) >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed what draws on the CPU and on this device; torch.manual_seed goes through all there are and takes longer."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def _mix_int(number: int) -> int:
    """Do `_mix` on one number, as uint64: a hundred times quicker than tensors of one element."""
    number &= _UINT64
    number = ((number ^ (number >> 30)) * _FIRST) & _UINT64
    number = ((number ^ (number >> 27)) * _SECOND) & _UINT64
    return number ^ (number >> 31)


def _mix(numbers: torch.Tensor) -> torch.Tensor:
    numbers = (numbers ^ _shift(numbers, 30)) * _FIRST
    numbers = (numbers ^ _shift(numbers, 27)) * _SECOND
    return numbers ^ _shift(numbers, 31)


def _shift(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift to the right logically, which torch does not for int64."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
