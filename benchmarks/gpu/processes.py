"""Two processes that share one GPU, and FSDP with one: they train, save, and what they saved is tested and exported."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

from benchmarks.gpu.work import Plan, failed, finish, run_stages, start_stage
from benchmarks.harness import Row

_TWO = ("hardware.num_nodes=2", "hardware.devices=1", "hardware.master_addr=127.0.0.1",
        "hardware.rendezvous_timeout=60")  # fmt: skip
# NCCL refuses two processes on one device, unless it takes them for those of two machines.
_HOSTS = {"NCCL_HOSTID": "gpu-benchmark-{}"}
_WAYS = {
    "two processes on one device, hardware.strategy=ddp_gloo": (2, "ddp_gloo", {}),
    "two processes on one device, hardware.strategy=ddp (NCCL, told of two machines)": (2, "ddp", _HOSTS),
    "one process, hardware.strategy=fsdp": (1, "fsdp", {}),
}


def run(plan: Plan) -> Iterator[Row]:
    for number, (what, way) in enumerate(_WAYS.items()):
        try:
            yield _trained(plan, f"way-{number}", what, *way)
        except Exception as error:  # the next way may go
            yield failed(what, error)


def _trained(plan: Plan, name: str, what: str, num: int, strategy: str, variables: dict[str, str]) -> Row:
    """Train in as many folders, as on as many machines; the first writes what there is to be tested and exported."""
    overrides = [f"hardware.strategy={strategy}", "export.latency=false"]
    if num == 2:
        overrides += [*_TWO, f"hardware.master_port={_free_port()}"]
    if not plan.is_trial:
        overrides += ["trainer.max_epochs=4", "checkpoint.every_n_train_steps=3"]
    folders = [plan.folder(f"{name}-{rank}", *overrides) for rank in range(num)]
    started = time.perf_counter()
    processes = [
        start_stage(
            folder, "train", NODE_RANK=str(rank), **{key: value.format(rank) for key, value in variables.items()}
        )
        for rank, folder in enumerate(folders)
    ]
    try:
        _finish_all(processes)
    finally:
        for process in processes:  # one that waits for another, which failed
            process.kill()
            process.wait()
    seconds = time.perf_counter() - started
    run_stages(folders[0], "test", "export")
    accuracy = json.loads((folders[0] / "reports/test/metrics.json").read_text())["accuracy"]
    told = f"trained in {seconds:.0f} s with its start, tested ({accuracy:.4f}) and exported"
    return Row(what, told, target="trains, saves, exports", met=True)


def _finish_all(processes: list[subprocess.Popen[str]]) -> None:
    reasons = []
    for process in processes:
        try:
            finish(process)
        except RuntimeError as error:
            reasons.append(str(error))
    if reasons:
        raise RuntimeError("; ".join(reasons))


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
