"""Ranks as torchrun, SLURM and Lightning set them."""

import os

import pytest

from lightline.runtime.ranks import forget_leaked_rank, is_first_process, launched_rank, local_rank, node_rank

_TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"}
_SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (True, None, 0, 0)),
        ({"LOCAL_RANK": "1"}, (False, None, 1, 0)),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, (False, None, 0, 1)),
        (_TORCHRUN | {"RANK": "0", "GROUP_RANK": "0", "LOCAL_RANK": "0"}, (True, 0, 0, 0)),
        (_TORCHRUN | {"RANK": "2", "GROUP_RANK": "1", "LOCAL_RANK": "0"}, (False, 2, 0, 1)),
        (_SLURM | {"SLURM_PROCID": "3", "SLURM_NODEID": "1", "SLURM_LOCALID": "1"}, (False, 3, 1, 1)),
        (_SLURM | {"SLURM_PROCID": "0", "SLURM_NODEID": "0", "SLURM_LOCALID": "0"}, (True, 0, 0, 0)),
        # In an interactive job Lightning starts its own processes.
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "3"}, (True, None, 0, 0)),
        # torchrun inside of a SLURM job.
        (_SLURM | _TORCHRUN | {"SLURM_PROCID": "1", "RANK": "0"}, (True, 0, 0, 0)),
    ],
    ids=str,
)
def test_ranks_are_those_of_who_started_the_processes(monkeypatch, environment, expected):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (is_first_process(), launched_rank(), local_rank(), node_rank()) == expected


def test_a_node_rank_that_a_cluster_left_behind_is_dropped_where_one_machine_trains(monkeypatch):
    monkeypatch.setenv("NODE_RANK", "1")
    forget_leaked_rank(num_nodes=2)
    assert not is_first_process()
    forget_leaked_rank(num_nodes=1)
    assert is_first_process()
