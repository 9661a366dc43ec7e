"""The files of a training's saved states: whole or not there, with a digest beside; the last two are kept."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from lightline.files import file_digest, whole_file
from lightline.runtime.state_store import FINISHED, KEPT, StateStore, digest_file


def state_file(folder: Path, step: int) -> Path:
    """Name the file for the state after a number of optimizer steps."""
    return folder / f"step-{step:09d}.ckpt"


class StateFiles(TorchCheckpointIO):
    """How Lightning's Trainer writes its checkpoints here.

    Its own way writes through a temporary file in another folder, which is no single step onto another file system, and
    leaves it to the system when bytes reach the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store: StateStore | None = None  # which gets each state that is saved

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write it under another name in the same folder, on the disk, and then rename it; older states but one go."""
        path = Path(path)
        with whole_file(path) as temporary:
            torch.save(checkpoint, temporary)
            # First, so that a file under its own name has its digest.
            with whole_file(digest_file(path)) as digest:
                digest.write_text(f"{file_digest(temporary)}  {path.name}\n")
        _flush_names(path.parent)
        states = _states(path.parent)
        for old in states if path.name == FINISHED else states[:-KEPT]:
            _delete(old)
        if self.store is not None:
            self.store.send(path)

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read it on the first process, from which the others have it: its file lies on that one's machine."""
        if not torch.distributed.is_initialized():
            return super().load_checkpoint(path, *arguments, **options)
        is_first = torch.distributed.get_rank() == 0
        held = [super().load_checkpoint(path, *arguments, **options) if is_first else None]
        torch.distributed.broadcast_object_list(held)
        assert held[0] is not None
        return held[0]


def newest_state(folder: Path) -> Path | None:
    """Find the finished state, or else the last whole one; a damaged one is named and deleted."""
    for path in [folder / FINISHED, *reversed(_states(folder))]:
        if path.exists():
            if _is_whole(path):
                return path
            print(f"warning: {path} is damaged and left out; the state before it is used.", file=sys.stderr, flush=True)
            _delete(path)
    return None


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.ckpt"))


def _is_whole(path: Path) -> bool:
    try:
        return digest_file(path).read_text().split()[0] == file_digest(path)
    except (OSError, IndexError):
        return False


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    digest_file(path).unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """Have the renaming itself on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
