"""Tests of a choice among rows that has as many of every class as can be."""

import numpy as np

from lightline.data.splits import stratified_choice

LABELS = np.array([number % 3 if number % 10 else 3 for number in range(300)])  # 90 of three classes, 30 of the fourth
ROWS = np.arange(0, 300, 2)


def test_a_stratified_choice_takes_as_many_of_every_class_as_can_be():
    chosen = stratified_choice(LABELS, ROWS, 40, seed=1)
    assert np.bincount(LABELS[chosen]).tolist() == [10, 10, 10, 10]
    assert set(chosen) <= set(ROWS)
    assert (np.diff(chosen) > 0).all()
    few = stratified_choice(LABELS, ROWS, 2, seed=1)
    assert len(set(LABELS[few])) == 2
    most = stratified_choice(LABELS, ROWS, 140, seed=1)
    assert np.bincount(LABELS[most])[3] == (LABELS[ROWS] == 3).sum()  # all that there are of the rarest
    assert np.array_equal(stratified_choice(LABELS, ROWS, 1000, seed=1), ROWS)


def test_a_stratified_choice_is_the_seed_s():
    chosen = stratified_choice(LABELS, ROWS, 40, seed=1)
    assert np.array_equal(stratified_choice(LABELS, ROWS, 40, seed=1), chosen)
    assert not np.array_equal(stratified_choice(LABELS, ROWS, 40, seed=2), chosen)
