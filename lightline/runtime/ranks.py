"""Which process of a distributed training this one is, as torchrun, SLURM or Lightning's own launcher tell it.

In Lightning's order: its AcceleratorConnector takes the first of them that it detects, and so must this. Of its own
launcher a process knows its place on its machine (LOCAL_RANK) and its machine's (NODE_RANK); of the others its place
among all.
"""

import os

_TORCHRUN, _SLURM = "TORCHELASTIC_RUN_ID", "SLURM_NTASKS"
_INTERACTIVE = ("bash", "interactive")  # names of SLURM jobs in which Lightning launches for itself


def launcher() -> str:
    """Name who starts the processes: torchrun, slurm or lightning."""
    if _TORCHRUN in os.environ:
        return "torchrun"
    if _SLURM in os.environ and os.environ.get("SLURM_JOB_NAME") not in _INTERACTIVE:
        return "slurm"
    return "lightning"


def local_rank() -> int:
    """Give this process's number among those of its machine."""
    return _number({"slurm": ("SLURM_LOCALID",)}.get(launcher(), ("LOCAL_RANK",)))


def node_rank() -> int:
    """Give this machine's number."""
    names = {"slurm": ("SLURM_NODEID",), "torchrun": ("GROUP_RANK",)}
    return _number(names.get(launcher(), ("NODE_RANK", "GROUP_RANK")))


def launched_rank() -> int | None:
    """Give this process's number among all, where torchrun or SLURM has started each of them."""
    names = {"slurm": ("SLURM_PROCID",), "torchrun": ("RANK",)}
    return _number(names[launcher()]) if launcher() in names else None


def num_launched() -> int:
    """Count the processes that torchrun or SLURM has started."""
    return _number(("SLURM_NTASKS",) if launcher() == "slurm" else ("WORLD_SIZE",), 1)


def is_first_process() -> bool:
    """Tell whether this process is the one of a distributed run that writes outputs; alone, it is."""
    rank = launched_rank()
    return rank == 0 if rank is not None else local_rank() == node_rank() == 0


def forget_leaked_rank(num_nodes: int) -> None:
    """Drop the NODE_RANK that a cluster leaves in an environment in which one machine trains: Lightning would hang.

    See https://github.com/Lightning-AI/pytorch-lightning/issues/5651.
    """
    if num_nodes == 1 and launcher() == "lightning" and "LOCAL_RANK" not in os.environ:
        for name in ("NODE_RANK", "GROUP_RANK"):
            os.environ.pop(name, None)


def _number(names: tuple[str, ...], otherwise: int = 0) -> int:
    for name in names:
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return otherwise
