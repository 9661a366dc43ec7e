"""How many augmented training images a second and core, against ImageFolder and DataLoader?

CIFAR-10 as JPEG files, batches of 512, on one core: random crop (padding 4, reflected), flip, erasing, normalisation.
Ours decodes once, before the first epoch, and cuts batches from one tensor; torchvision's way decodes every image every
time. The first line leaves that decoding out, the second counts it into ten epochs.
"""

import torch
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.harness import Row, in_turn, measure
from benchmarks.settings import composed
from benchmarks.sources import cifar_folder, cifar_project
from lightline.data.dataset import DATASET, Dataset
from lightline.data.splits import SPLITS, read_splits
from stages.train.datamodule import ImageDataModule

_BATCH, _TARGET, _EPOCHS = 512, 25, 10
_AUGMENTATION = ("augment=standard", "augment.random_erasing=0.25")


def run(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    project = cifar_project()
    params = composed(*_AUGMENTATION, f"trainer.batch_size={_BATCH}", "hardware.num_workers=0")
    made: list[ImageDataModule] = []
    dataset, splits = Dataset(project / DATASET), read_splits(project / SPLITS)
    decoding = measure(lambda: made.append(ImageDataModule(params, dataset, splits)))
    data = made[0]
    data.trainer = _Training()  # type: ignore[assignment]
    reference = _reference(1024 if quick else 4096)
    pairs = in_turn(lambda: _ours(data), lambda: _consume(reference), pairs=2 if quick else 7)
    (ours_cpu, reference_cpu), num_images = pairs.seconds("cpu"), len(data.train)
    share = num_images / len(reference.dataset)  # type: ignore[arg-type]
    ratio, cpu_ratio = pairs.ratio() * share, pairs.ratio("cpu") * share
    ours, theirs = num_images / ours_cpu, num_images / share / reference_cpu
    with_decoding = ours_cpu + decoding.cpu / _EPOCHS
    return [
        Row("images a second and core", f"{ours:,.0f}", f"{theirs:,.0f}", ratio, cpu_ratio,
            f"CPU ratio at least {_TARGET}", cpu_ratio >= _TARGET),
        Row(f"the same, with the decoding before the first of {_EPOCHS} epochs", f"{num_images / with_decoding:,.0f}",
            f"{theirs:,.0f}", cpu_ratio=cpu_ratio * ours_cpu / with_decoding),
    ]  # fmt: skip


class _Training:
    """As much of Lightning's Trainer as the data module reads in an epoch."""

    training, current_epoch, global_rank, world_size = True, 1, 0, 1


def _ours(data: ImageDataModule) -> None:
    for batch in data.train_dataloader():
        data.on_after_batch_transfer(batch, 0)


def _reference(num_images: int) -> DataLoader:
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4, padding_mode="reflect"),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            v2.RandomErasing(0.25),
        ]
    )
    images = ImageFolder(cifar_folder() / "train", transform)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:num_images]
    return DataLoader(Subset(images, chosen.tolist()), _BATCH, shuffle=True)


def _consume(loader: DataLoader) -> None:
    for _ in loader:
        pass
