"""The checkpoints that the train stage writes: plain content only, so that they load with weights_only, and equal bytes
for equal training.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightline.config.model import model_settings
from lightline.data.dataset import Dataset
from lightline.errors import DataError
from lightline.files import whole_file
from lightline.models.build import build_network
from lightline.models.transforms import Preprocessing
from lightline.models.tta import with_tta

CHECKPOINTS = Path("models/checkpoints")
BEST, LAST = CHECKPOINTS / "best.ckpt", CHECKPOINTS / "last.ckpt"
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what led to it.

    state_dict: of the network alone, on the CPU.
    params: the sections of params.yaml that determine training, as plain JSON.
    preprocessing: the evaluation transform in numbers.
    epoch: number of finished epochs.
    metrics: on the validation split.
    """

    fingerprint: str
    dataset: str
    classes: list[str]
    params: dict[str, Any]
    preprocessing: Preprocessing
    epoch: int
    metrics: dict[str, float]
    state_dict: dict[str, torch.Tensor]

    def check_dataset(self, dataset: Dataset) -> None:
        """Check that a dataset is the one it was trained on.

        Raises:
            DataError: it is another.
        """
        if self.dataset != dataset.digest:
            raise DataError(f"{BEST} was trained on another dataset; `dvc repro train` trains on this one.")

    def network(self) -> nn.Module:
        """Build the trained network as it answers, in evaluation mode."""
        settings = model_settings(self.params["model"])
        network = build_network(settings, len(self.classes))
        network.load_state_dict(self.state_dict)
        return with_tta(network, settings)


_KINDS = {
    "fingerprint": str,
    "dataset": str,
    "classes": list,
    "params": dict,
    "preprocessing": dict,  # in a file; in memory a Preprocessing
    "epoch": int,
    "metrics": dict,
    "state_dict": dict,
}


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write it whole or not at all; equal content makes equal bytes."""
    plain = {name: getattr(checkpoint, name) for name in _KINDS if name != "state_dict"}
    plain["preprocessing"] = asdict(checkpoint.preprocessing)
    # Through JSON, because pickle writes which texts are one object in memory, whatever their content.
    plain, names = json.loads(json.dumps([{"format": _FORMAT} | plain, list(checkpoint.state_dict)]))
    content = plain | {"state_dict": dict(zip(names, checkpoint.state_dict.values(), strict=True))}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        # To a file object, not to a name: torch writes the name it saves to into the file.
        torch.save(content, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, onto the CPU; nothing but tensors and plain values is accepted.

    Raises:
        DataError: there is none, it is damaged, or something else wrote it.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `dvc repro train` writes it.") from None
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path} is no checkpoint that can be read safely ({reason}); `dvc repro --force train` writes it anew."
        ) from error
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT or not _is_whole(content):
        raise DataError(f"{path} was not written by this version of Lightline; `dvc repro train` writes it anew.")
    content["preprocessing"] = Preprocessing.from_dict(content["preprocessing"])
    return Checkpoint(**content)


def _is_whole(content: dict[str, Any]) -> bool:
    """Tell whether there is all that a checkpoint has and no more, such as a class to be built or unknown settings."""
    if set(content) != set(_KINDS) or not all(isinstance(content[name], kind) for name, kind in _KINDS.items()):
        return False
    try:
        model_settings(content["params"]["model"])
        Preprocessing.from_dict(content["preprocessing"])
    except (KeyError, TypeError, ValueError):
        return False
    return all(isinstance(value, torch.Tensor) for value in content["state_dict"].values())
