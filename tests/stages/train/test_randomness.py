"""Random numbers as a function of (seed, epoch, row)."""

import numpy as np
import pytest
import torch

from stages.train import randomness
from stages.train.randomness import permutation, step_seed, uniform

ROWS = torch.arange(20_000)


def test_uniform_fills_the_interval_evenly():
    numbers = uniform(42, 3, ROWS, 4)
    assert numbers.dtype == torch.float32
    assert numbers.shape == (20_000, 4)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        counts = torch.histc(column, bins=20, min=0, max=1)
        # 1,000 expected in each; chi-square with 19 degrees of freedom is below 50 but once in 8,000 draws.
        assert ((counts - 1000) ** 2 / 1000).sum() < 50


def test_uniform_scaled_to_a_number_of_choices_never_reaches_it():
    largest = torch.tensor(1 - 2**-24)  # the largest number that uniform can give
    for choices in range(1, 2000):
        assert (largest * choices).long() == choices - 1


@pytest.mark.parametrize("other", [(42, 4), (43, 3), (42, 2**31), (2**32 - 1, 3)])
def test_uniform_is_unrelated_between_epochs_and_seeds(other):
    first, second = uniform(42, 3, ROWS, 2), uniform(*other, ROWS, 2)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.03
    assert (first != second).float().mean() > 0.999


def test_uniform_is_unrelated_between_rows_and_numbers():
    numbers = uniform(0, 0, ROWS, 3).numpy()
    for first, second in (
        (numbers[1:, 0], numbers[:-1, 0]),
        (numbers[:, 0], numbers[:, 1]),
        (numbers[1:, 0], numbers[:-1, 1]),
    ):
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_a_row_draws_the_same_whatever_stands_beside_it():
    whole = uniform(7, 1, ROWS[:100], 5)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(uniform(7, 1, order, 5), whole[order])
    assert torch.equal(uniform(7, 1, torch.tensor([63]), 5)[0], whole[63])
    assert torch.equal(uniform(7, 1, ROWS[:100], 2), whole[:, :2])


def test_uniform_gives_these_numbers_on_every_machine():
    # Other numbers change every training: that must be meant.
    numbers = uniform(42, 0, torch.tensor([0, 1]), 2).flatten().tolist()
    assert numbers == [0.8057763576507568, 0.6048569083213806, 0.48034483194351196, 0.8833538293838501]
    assert permutation(42, 0, 8).tolist() == [7, 3, 6, 4, 1, 5, 2, 0]


def test_the_mixing_is_splitmix64():
    # The first outputs of the reference implementation for the seed 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = [1234567 + number * randomness._GOLDEN for number in range(1, 5)]
    assert [randomness._mix_int(state) for state in states] == expected
    wrapped = [(state + 2**63) % 2**64 - 2**63 for state in states]
    assert [number % 2**64 for number in randomness._mix(torch.tensor(wrapped)).tolist()] == expected


def test_no_state_is_read_or_left():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = uniform(1, 1, ROWS[:5], 3), permutation(1, 1, 10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(uniform(1, 1, ROWS[:5], 3), first[0])
    assert torch.equal(permutation(1, 1, 10), first[1])


def test_permutation_holds_every_row_once_in_another_order_each_epoch():
    orders = [tuple(permutation(3, epoch, 50).tolist()) for epoch in range(20)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 20
    assert permutation(4, 0, 50).tolist() != list(orders[0])


def test_step_seeds_differ_and_fit_an_int64():
    seeds = {step_seed(seed, step) for seed in range(100) for step in range(100)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 0 <= step_seed(2**32 - 1, 10**9) < 2**63
